"""Certified metrics of a model that runs on two replicas, as a process.

    python -m tests.metrics.replicas tensorflow|jax|torch

prints, as JSON, what `evaluate` says after each fit and what is certified of
the same data. Devices are divided before a backend starts, hence the process.
"""

import json
import os
import sys
import tempfile

from tests.two_devices import set_two_devices

EPSILON = 0.1
RADII = "mean_certified_radius"


def make_data():
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 6)).astype("float32")
    return x, np.arange(32) % 3


def make_model():
    import keras

    from keras_lip import layers
    from keras_lip import losses
    from keras_lip import metrics
    from keras_lip import models

    keras.utils.set_random_seed(0)
    model = models.LipschitzSequential(
        [
            keras.Input((6,)),
            layers.LipschitzDense(8, parametrization="spectral"),
            layers.MaxMin(),
            layers.UnitNormDense(3),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.05),
        losses.MulticlassHKR(),
        metrics=[
            metrics.CertifiedAccuracy(EPSILON, name="certified_accuracy"),
            metrics.MeanCertifiedRadius(name=RADII),
        ],
    )
    return model


def compare(model, evaluated):
    """Returns what was evaluated, beside what is certified."""
    import numpy as np

    from keras_lip.certificates import certify

    x, y = make_data()
    report = certify(model, x, y, epsilons=[EPSILON])
    right = np.where(report.prediction == y, report.radius, 0.0)
    certified = {
        "certified_accuracy": float(report.certified_accuracy(EPSILON)),
        RADII: float(np.mean(right)),
    }
    return {name: [evaluated[name], certified[name]] for name in certified}


def fit_and_compare(model):
    """Returns the comparisons after each of two fits."""
    x, y = make_data()
    found = []
    for _ in range(2):
        model.fit(x, y, epochs=2, batch_size=16, verbose=0)
        found.append(
            compare(
                model,
                model.evaluate(x, y, verbose=0, batch_size=8, return_dict=True),
            )
        )
    return found


def run_tensorflow():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = make_model()
    return fit_and_compare(model)


def run_jax():
    import keras

    keras.distribution.set_distribution(keras.distribution.DataParallel())
    return fit_and_compare(make_model())


def run_torch_process(rank, folder):
    """Trains one of two replicas, and evaluates its half of the data."""
    import torch

    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
    )
    model = make_model()
    replica = torch.nn.parallel.DistributedDataParallel(model)
    x, y = make_data()
    half = slice(rank, None, 2)
    inputs, labels = torch.tensor(x[half]), torch.tensor(y[half])
    optimizer = torch.optim.SGD(
        [variable.value for variable in model.trainable_variables], lr=0.1
    )
    found = []
    for _ in range(2):
        for _ in range(5):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(
                replica(inputs, training=True), labels
            )
            loss.backward()
            optimizer.step()
        part = model.evaluate(x[half], y[half], verbose=0, return_dict=True)
        whole = {}
        for name, value in part.items():
            total = torch.tensor(float(value))
            torch.distributed.all_reduce(total)
            whole[name] = float(total) / 2
        found.append(compare(model, whole))
    torch.distributed.destroy_process_group()
    if rank == 0:
        with open(f"{folder}/found.json", "w") as file:
            json.dump(found, file)


def run_torch():
    import torch

    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(run_torch_process, (folder,), nprocs=2)
        with open(f"{folder}/found.json") as file:
            return json.load(file)


def main():
    backend = sys.argv[1]
    os.environ["KERAS_BACKEND"] = backend
    set_two_devices()
    runs = {"tensorflow": run_tensorflow, "jax": run_jax, "torch": run_torch}
    print(json.dumps(runs[backend]()))


if __name__ == "__main__":
    main()
