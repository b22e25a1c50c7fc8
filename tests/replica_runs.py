"""Trains models on one device and on two replicas, as a process.

    python -m tests.replica_runs tensorflow|jax|torch FOLDER [CASE ...]

writes `one_CASE.npz` and `two_CASE.npz` for every case, or for those named:
weights, bounds, what is evaluated and logged, and the outputs of the saved
file, after the same steps with the same batches. On JAX it also writes
`shards_CASE.npz` for those of `SHARDED`: their weights are divided over two
devices. Devices are divided before a backend starts, hence the process. On
PyTorch it starts the replicas by `torchrun`. TensorFlow's collective operations
do not survive a second strategy in a process.
"""

import contextlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from typing import NamedTuple

from tests.two_devices import set_two_devices

BATCH_SIZE, EPOCHS = 6, 2


class Case(NamedTuple):
    """A compiled model, its data, and its callbacks."""

    make: Callable[[], Any]
    data: Callable[[], tuple[Any, Any]]
    callbacks: Callable[[], list[Any]] = list


def stateful_layers():
    """Returns each layer whose state changes in training, on its inputs."""
    import keras

    from keras_lip import layers
    from tests.layers.every_layer import EVERY_LAYER
    from tests.layers.every_layer import MERGING
    from tests.layers.every_layer import SIGNALS
    from tests.layers.every_layer import VECTORS

    # Names of their own would also be those of the layers inside, and PyTorch
    # finds parameters by their paths.
    makers = [
        pair
        for name, pair in EVERY_LAYER.items()
        if name not in (*MERGING, "BatchCentering")
    ]
    makers += [
        (lambda: layers.BatchCentering(synchronized=True), VECTORS),
        (
            lambda: keras.layers.TimeDistributed(layers.LipschitzDense(4)),
            SIGNALS,
        ),
    ]
    found = []
    for make, sample in makers:
        layer, inputs = make(), keras.Input(sample)
        layer(inputs)
        if layer.non_trainable_weights:
            found.append((make, sample))
    return found


def make_layers_model():
    """All of them, side by side, in one model: it is compiled once."""
    import keras

    found = stateful_layers()
    inputs = {
        str(len(sample)): keras.Input(sample, name=str(len(sample)))
        for sample in {sample for _, sample in found}
    }
    outputs = [
        keras.layers.Flatten()(make()(inputs[str(len(sample))]))
        for make, sample in found
    ]
    model = keras.Model(inputs, keras.layers.Concatenate()(outputs))
    # Momentum and a rate at which differences would grow.
    model.compile(keras.optimizers.SGD(0.5, momentum=0.9), "mse")
    return model


def make_layers_data():
    import numpy as np

    rng = np.random.default_rng(1)
    shapes = {"1": (4,), "2": (4, 4), "3": (4, 4, 4)}
    x = {
        name: rng.normal(size=(2 * BATCH_SIZE, *shape)).astype("float32") + 0.5
        for name, shape in shapes.items()
    }
    size = make_layers_model().output_shape[-1]
    return x, rng.normal(size=(2 * BATCH_SIZE, size)).astype("float32")


def loss_cases():
    from tests.losses.loss_cases import CASES

    return {name: case for name, case in CASES.items() if "_of_" not in name}


def make_losses_model():
    """An output for every loss, from scores of its own."""
    import keras

    inputs, outputs, losses = keras.Input((6,)), {}, {}
    for name, case in loss_cases().items():
        layer = keras.layers.Dense(
            case.y_pred.shape[1], use_bias=False, name=name
        )
        outputs[name] = layer(inputs)
        layer.kernel.assign(case.y_pred)
        kwargs = dict(case.init_kwargs)
        if "synchronized" in inspect.signature(case.build).parameters:
            kwargs["synchronized"] = True
        losses[name] = case.build(**kwargs)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.05), losses)
    return model


def make_losses_data():
    import numpy as np

    labels = {name: case.y_true for name, case in loss_cases().items()}
    return np.eye(6, dtype="float32"), labels


def make_classifier():
    """All callbacks and all metrics of several classes have a part in it."""
    import keras

    from keras_lip import layers
    from keras_lip import losses
    from keras_lip import metrics
    from keras_lip import models

    inputs = keras.Input((4, 4, 2))
    x = layers.SVCMConv2D(4, 3)(inputs)
    x = layers.MaxMin()(keras.layers.Flatten()(x))
    x = layers.OrthogonalDense(8, parametrization="bjorck")(x)
    x = layers.BatchCentering(synchronized=True)(x)
    outputs = keras.layers.Dense(3)(layers.LipschitzDense(8)(x))
    model = models.LipschitzModel(inputs, outputs)
    model.compile(
        keras.optimizers.SGD(0.1),
        losses.EMMA(0.1),
        metrics=[
            metrics.CertifiedAccuracy(0.1),
            metrics.MeanCertifiedRadius(),
            metrics.MeanCertifiableRobustness(),
        ],
    )
    return model


def make_classifier_data():
    import numpy as np

    rng = np.random.default_rng(2)
    y = np.arange(4 * BATCH_SIZE) % 3
    x = rng.normal(size=(len(y), 4, 4, 2)) + y[:, None, None, None]
    return x.astype("float32"), y


def make_callbacks():
    from keras_lip import callbacks

    x, y = make_classifier_data()
    return [
        callbacks.BjorckScheduler(lambda epoch: 8 + 4 * epoch),
        callbacks.EpsilonScheduler(lambda epoch: 0.1 + 0.1 * epoch),
        callbacks.ParsevalStep(0.1),
        callbacks.SVCMClipping(3),
        callbacks.LipschitzMonitor(sample_batch=(x[:6], y[:6])),
    ]


def make_critic():
    import keras

    from keras_lip import layers
    from keras_lip import losses
    from keras_lip import metrics
    from keras_lip import models

    model = models.LipschitzSequential(
        [
            keras.Input((4, 4, 2)),
            keras.layers.Flatten(),
            layers.LipschitzDense(8),
            layers.MaxMin(),
            layers.OrthogonalDense(1),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.1),
        losses.HKR(synchronized=True),
        metrics=[metrics.BinaryCertifiedAccuracy(0.1)],
    )
    return model


def make_critic_data():
    x, y = make_classifier_data()
    return x, y % 2


def make_critic_callbacks():
    from keras_lip import callbacks

    return [callbacks.LossScheduler(lambda epoch: 10.0 - epoch, "alpha")]


def make_centering():
    """The centering is not synchronized, and comes before all weights."""
    import keras

    from keras_lip import layers

    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.BatchCentering(0.5, center=False),
            keras.layers.Dense(
                1, use_bias=False, kernel_initializer="ones", name="dense"
            ),
        ]
    )
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def make_centering_data():
    """The means of the parts of a batch differ by as much as its samples."""
    import numpy as np

    x = np.random.default_rng(3).normal(size=(4 * BATCH_SIZE, 4))
    x += np.arange(len(x))[:, None] % BATCH_SIZE
    return x.astype("float32"), x[:, :1].astype("float32") / 2


CASES = {
    "layers": Case(make_layers_model, make_layers_data),
    "losses": Case(make_losses_model, make_losses_data),
    "classifier": Case(make_classifier, make_classifier_data, make_callbacks),
    "critic": Case(make_critic, make_critic_data, make_critic_callbacks),
    "centering": Case(make_centering, make_centering_data),
}
# Two replicas train another network than one device does.
UNEQUAL = ("centering",)
SHARDED = ("layers", "classifier")


def make(case, scope):
    import keras

    # This also forgets the distribution.
    keras.utils.clear_session()
    with scope:
        keras.utils.set_random_seed(0)
        return case.make()


def count_replicas(model):
    """Returns the number of devices or processes that train a model."""
    import keras

    if keras.backend.backend() == "jax":
        return len(model.weights[0].value.sharding.device_set)
    if keras.backend.backend() == "tensorflow":
        return model.distribute_strategy.num_replicas_in_sync
    import torch

    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_initialized() else 1


def count_sharded(model):
    """Returns the number of trainable weights of which no device has all."""
    import keras

    if keras.backend.backend() != "jax":
        return 0
    return sum(
        not weight.value.sharding.is_fully_replicated
        for weight in model.trainable_weights
    )


def collect(model, evaluated, logged):
    """Returns all that two runs are compared by, as arrays by name."""
    import keras
    import numpy as np

    from keras_lip import layers

    found = {f"evaluated {name}": value for name, value in evaluated.items()}
    found |= {f"logged {name}": value for name, value in logged.items()}
    found["replicas"] = count_replicas(model)
    found["sharded"] = count_sharded(model)
    for weight in model.variables:
        key = f"weight {weight.path}"
        if key in found:
            raise ValueError(f"Two weights have the path {weight.path}.")
        found[key] = keras.ops.convert_to_numpy(weight)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.LipschitzLayer):
            found[f"bound {layer.name}"] = layer.lipschitz_bound()
    return {name: np.asarray(value) for name, value in found.items()}


def write(case, folder, name, found, model):
    """Writes a run, with the outputs of the file that is saved of it."""
    import keras
    import numpy as np

    path = os.path.join(folder, f"{name}.keras")
    model.save(path)
    loaded = keras.models.load_model(path, compile=False)
    outputs = loaded.predict(case.data()[0], verbose=0)
    for number, each in enumerate(keras.tree.flatten(outputs)):
        found[f"saved {number}"] = each
    np.savez(os.path.join(folder, f"{name}.npz"), **found)


def fit(case, scope, folder, name):
    """Trains by Keras's own loop."""
    model = make(case, scope)
    x, y = case.data()
    history = model.fit(
        x,
        y,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=case.callbacks(),
    ).history
    evaluated = model.evaluate(
        x, y, batch_size=BATCH_SIZE, verbose=0, return_dict=True
    )
    write(case, folder, name, collect(model, evaluated, history), model)


def run_tensorflow(folder):
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for name, case in CASES.items():
        fit(case, contextlib.nullcontext(), folder, f"one_{name}")
        fit(case, strategy.scope(), folder, f"two_{name}")


def run_jax(folder):
    import keras

    @contextlib.contextmanager
    def data_parallel():
        parallel = keras.distribution.DataParallel()
        keras.distribution.set_distribution(parallel)
        yield

    for name, case in CASES.items():
        fit(case, contextlib.nullcontext(), folder, f"one_{name}")
        fit(case, data_parallel(), folder, f"two_{name}")
        if name in SHARDED:
            model = make(case, contextlib.nullcontext())
            fit(case, model_parallel(model), folder, f"shards_{name}")


@contextlib.contextmanager
def model_parallel(model):
    """Divides the last axis of weights, where it is even, as of a model."""
    import keras

    mesh = keras.distribution.DeviceMesh((1, 2), ("batch", "model"))
    layout = keras.distribution.LayoutMap(mesh)
    for weight in model.trainable_weights:
        if weight.shape and weight.shape[-1] % 2 == 0:
            axes = (*[None] * (len(weight.shape) - 1), "model")
            layout[f"^{re.escape(weight.path)}$"] = axes
    keras.distribution.set_distribution(
        keras.distribution.ModelParallel(
            layout_map=layout, batch_dim_name="batch"
        )
    )
    yield


def run_torch(folder):
    import torch

    if torch.distributed.is_torchelastic_launched():
        run_torch_replica(folder)
        return
    for name, case in CASES.items():
        fit(case, contextlib.nullcontext(), folder, f"one_{name}")
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--standalone", "--nproc-per-node", "2"),
            *("-m", "tests.replica_runs", "torch", folder, *CASES),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )


def run_torch_replica(folder):
    """Trains one of the replicas of `torchrun`, on its half of every batch."""
    import torch

    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    for name, case in CASES.items():
        model = make(case, contextlib.nullcontext())
        train_replica(model, case, rank)
        evaluated = evaluate_replica(model, case, rank)
        found = collect(model, evaluated, {})
        if rank == 0:
            write(case, folder, f"two_{name}", found, model)
        torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def take(data, part):
    import keras

    return keras.tree.map_structure(lambda array: array[part], data)


def train_replica(model, case, rank):
    import keras
    import torch

    x, y = case.data()
    size = len(keras.tree.flatten(x)[0])
    replica = torch.nn.parallel.DistributedDataParallel(model)
    callbacks = keras.callbacks.CallbackList(
        case.callbacks(), model=model, epochs=EPOCHS, steps=size // BATCH_SIZE
    )
    callbacks.on_train_begin()
    for epoch in range(EPOCHS):
        callbacks.on_epoch_begin(epoch)
        for step in range(size // BATCH_SIZE):
            callbacks.on_train_batch_begin(step)
            first = step * BATCH_SIZE + rank * BATCH_SIZE // 2
            part = slice(first, first + BATCH_SIZE // 2)
            inputs, labels = (
                keras.tree.map_structure(torch.tensor, take(each, part))
                for each in (x, y)
            )
            replica.zero_grad()
            outputs = replica(inputs, training=True)
            loss = model.compute_loss(inputs, labels, outputs)
            loss.backward()
            weights = model.trainable_weights
            gradients = [weight.value.grad for weight in weights]
            with torch.no_grad():
                model.optimizer.apply(gradients, weights)
            callbacks.on_train_batch_end(step)
        callbacks.on_epoch_end(epoch, {})
    callbacks.on_train_end()


def evaluate_replica(model, case, rank):
    """Evaluates half of the data, and adds up what the metrics add up."""
    import torch

    x, y = case.data()
    part = slice(rank, None, 2)
    model.evaluate(take(x, part), take(y, part), BATCH_SIZE // 2, verbose=0)
    for metric in model.metrics:
        for variable in metric.variables:
            if variable.aggregation == "sum":
                torch.distributed.all_reduce(variable.value.data)
    return {
        name: float(value) for name, value in model.get_metrics_result().items()
    }


def main():
    backend, folder, *names = sys.argv[1:]
    os.environ["KERAS_BACKEND"] = backend
    set_two_devices("--xla_backend_optimization_level=0")
    runs = {"tensorflow": run_tensorflow, "jax": run_jax, "torch": run_torch}
    for name in set(CASES) - set(names or CASES):
        del CASES[name]
    runs[backend](folder)


if __name__ == "__main__":
    main()
