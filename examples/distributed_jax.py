"""# Train and certify with several processes, on JAX

    export KERAS_BACKEND=jax
    python examples/distributed_jax.py --processes 2 --process 0 --output run &
    python examples/distributed_jax.py --processes 2 --process 1 --output run

trains one network with `keras.distribution.DataParallel` on the devices of all
processes. Each of them loads its part of every batch, and JAX computes as if
one device had the whole. After each epoch the first process writes a
checkpoint, whole or not at all. If a process is killed, stop the others and
start all of them again: they resume from the last checkpoint. In the end every
process certifies a shard of the test images, and the reports are merged.

On several machines `--coordinator` is the address of the first process, and the
folder of `--output` must be one that all machines see. Under SLURM or on a TPU
`jax.distributed.initialize()` finds all of it without arguments.

Without arguments the script is one process: `python examples/distributed_jax.py
--smoke`.
"""

import argparse
import json
import os
import pathlib

import keras
import numpy as np

import keras_lip as kl

RADII = (0.1, 0.3, 0.5)

"""
## The data and the network

All processes load the same images, in the same order. The means of
`BatchCentering` and of the loss are those of the whole batch: on JAX nothing
has to be synchronized.
"""


def load_data():
    """Returns `(x_train, y_train), (x_test, y_test)` of 8x8 digits."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        (images / 16).astype("float32"),
        labels,
        test_size=0.25,
        stratify=labels,
        random_state=0,
    )
    return (x, y), (x_test, y_test)


def make_model(units):
    """Returns a compiled network."""
    model = kl.models.LipschitzSequential(
        [
            keras.Input((64,)),
            # The centering has a bias of its own, and would cancel another.
            kl.layers.OrthogonalDense(units, use_bias=False),
            kl.layers.BatchCentering(),
            kl.layers.MaxMin(),
            kl.layers.LipschitzDense(units),
            kl.layers.MaxMin(),
            kl.layers.UnitNormDense(10),
        ]
    )
    loss = kl.losses.MulticlassHKR(10.0, 0.5)
    model.compile(keras.optimizers.Adam(0.005), loss)
    return model


class PartOfBatches(keras.utils.PyDataset):
    """The part of every batch of an epoch that a process loads.

    The order depends on the seed and the epoch alone. A resumed run therefore
    sees the batches that an uninterrupted run sees.
    """

    def __init__(self, data, epoch, settings):
        super().__init__()
        self.x, self.y = data
        self.size = settings.batch_size
        self.part = slice(settings.process, None, settings.processes)
        rng = np.random.default_rng((settings.seed, epoch))
        self.order = rng.permutation(len(self.x))

    def __len__(self):
        return len(self.x) // self.size

    def __getitem__(self, index):
        batch = self.order[index * self.size : (index + 1) * self.size]
        return self.x[batch[self.part]], self.y[batch[self.part]]


"""
## Checkpoints

A `.keras` file contains the weights, the states of layers and the optimizer. It
is written under another name and then renamed, so a process that dies while it
writes leaves the older checkpoint as the last one. For weights that are sharded
over hosts use `keras.callbacks.OrbaxCheckpoint`, with which every process
writes its own part.
"""


def find_checkpoint(folder):
    """Returns the number of finished epochs, and the last checkpoint."""
    paths = sorted(folder.glob("epoch_*.keras"))
    if not paths:
        return 0, None
    return int(paths[-1].stem.removeprefix("epoch_")), paths[-1]


def check_settings(folder, settings, is_first):
    """Ends a process that would resume a run with other settings.

    The first process of a new run writes them down.
    """
    path = folder / "settings.json"
    names = "seed", "units", "batch_size"
    given = {name: getattr(settings, name) for name in names}
    if find_checkpoint(folder)[1] is None:
        if is_first:
            path.write_text(json.dumps(given))
        return
    found = json.loads(path.read_text()) if path.exists() else None
    if found != given:
        raise SystemExit(
            f"The run in {folder} has other settings: {found}. Choose another "
            f"--output, or the same settings. Received: {given}"
        )


def save_checkpoint(model, folder, epochs, process):
    """Writes a checkpoint whole or not at all."""
    path = folder / f"epoch_{epochs:04}.keras"
    partial = folder / f"partial_{process}_{path.name}"
    # Keras puts values on all devices meanwhile, so all processes take part.
    model.save(partial)
    if process == 0:
        os.replace(partial, path)
    else:
        partial.unlink()


def count_devices(settings):
    """Returns the number of devices of all processes."""
    try:
        devices = len(keras.distribution.list_devices())
    except RuntimeError as error:
        raise SystemExit(
            f"JAX finds no device: {error}. Set JAX_PLATFORMS to a platform "
            "that this machine has, such as cpu."
        ) from error
    if devices < settings.processes:
        raise SystemExit(
            "Every process needs a device of its own. Received: "
            f"{devices} devices for {settings.processes} processes"
        )
    if settings.batch_size % devices:
        raise SystemExit(
            "--batch-size must be a multiple of the number of devices. "
            f"Received: {settings.batch_size} for {devices} devices"
        )
    return devices


def train_epoch(model, data, epoch, settings):
    """Trains on this process's part of every batch of an epoch."""
    model.fit(PartOfBatches(data, epoch, settings), shuffle=False, verbose=0)


def train(folder, settings):
    """Trains all epochs that are left, and returns how many were done."""
    devices = count_devices(settings)
    check_settings(folder, settings, settings.process == 0)
    done, path = find_checkpoint(folder)
    # After this line every variable and every batch is on all devices.
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(auto_shard_dataset=False)
    )
    keras.utils.set_random_seed(settings.seed)
    if path is None:
        model = make_model(settings.units)
    else:
        model = keras.models.load_model(path)
    if settings.process == 0:
        print(f"{devices} devices, resumed after {done} epochs", flush=True)
    data, _ = load_data()
    for epoch in range(done, settings.epochs):
        train_epoch(model, data, epoch, settings)
        save_checkpoint(model, folder, epoch + 1, settings.process)
    return done


def wait_for_all(settings, name):
    """Waits until all processes are here."""
    if settings.processes > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


"""
## Certificates

Proofs are about one host: every process loads the trained network on a device
of its own, and certifies every n-th batch of the test images. The merged report
is the report that one process would make.
"""


def certify(folder, settings):
    """Returns the merged report in the first process, elsewhere `None`."""
    keras.distribution.set_distribution(None)
    _, path = find_checkpoint(folder)
    model = keras.models.load_model(path, compile=False)
    _, (x, y) = load_data()
    report = kl.certificates.certify(
        model,
        x,
        y,
        RADII,
        batch_size=64,
        shard=(settings.process, settings.processes),
    )
    report.save(folder / f"shard_{settings.process}.npz", overwrite=True)
    wait_for_all(settings, "certified")
    if settings.process > 0:
        return None
    paths = [folder / f"shard_{i}.npz" for i in range(settings.processes)]
    report = kl.certificates.CertificationReport.merge(
        map(kl.certificates.CertificationReport.load, paths)
    )
    report.save(folder / "report.npz", overwrite=True)
    return report


def positive(text):
    """Reads a positive integer of the command line."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(
            f"it must be a positive integer. Received: {text}"
        )
    return int(text)


def main(argv=None):
    """Runs the example in one of the processes."""
    parser = argparse.ArgumentParser(description="Train in several processes.")
    parser.add_argument("--smoke", action="store_true", help="a short run")
    parser.add_argument("--output", type=pathlib.Path, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=positive, default=None)
    parser.add_argument("--batch-size", type=positive, default=64)
    parser.add_argument("--processes", type=positive, default=1)
    parser.add_argument("--process", type=int, default=0, help="from zero")
    parser.add_argument("--coordinator", default="127.0.0.1:12355")
    settings = parser.parse_args(argv)
    if keras.backend.backend() != "jax":
        raise SystemExit(
            "This example needs JAX: set KERAS_BACKEND=jax. Received: "
            f"{keras.backend.backend()}"
        )
    settings.units = 32 if settings.smoke else 128
    settings.epochs = settings.epochs or (4 if settings.smoke else 40)
    if settings.batch_size % settings.processes:
        raise SystemExit(
            "--batch-size must be a multiple of --processes. Received: "
            f"{settings.batch_size} for {settings.processes} processes"
        )
    if not 0 <= settings.process < settings.processes:
        raise SystemExit(
            "--process must be a number from zero, smaller than --processes. "
            f"Received: {settings.process} of {settings.processes} processes"
        )
    folder = settings.output or pathlib.Path("distributed_jax")
    folder.mkdir(parents=True, exist_ok=True)
    if settings.processes > 1:
        import jax

        jax.distributed.initialize(
            settings.coordinator, settings.processes, settings.process
        )
    resumed = train(folder, settings)
    wait_for_all(settings, "trained")
    report = certify(folder, settings)
    if report is None:
        return
    print(report)
    results = {
        "processes": settings.processes,
        "epochs": settings.epochs,
        "resumed_after": resumed,
        "accuracy": report.accuracy,
        "certified_accuracy": {
            str(radius): report.certified_accuracy(radius) for radius in RADII
        },
        "sha256": report.audit.sha256,
    }
    path = folder / "distributed_jax.json"
    path.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
