r"""# Train and certify with several processes, on PyTorch

    export KERAS_BACKEND=torch TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    torchrun --standalone --nproc-per-node 2 --max-restarts 3 \
        examples/distributed_torch.py --output run

trains one network with `DistributedDataParallel`. Every process computes the
gradients of its part of each batch. After each epoch the first process writes a
checkpoint, whole or not at all. If a process is killed, `torchrun` starts all
of them again, and they resume from the last checkpoint. The same command also
resumes a run that was stopped. In the end every process certifies a shard of
the test images, and the reports are merged.

Without the second variable the processes of PyTorch 2.13 may look for each
other at the addresses of those that died (pytorch/pytorch#135712).

Where there are GPUs, each process takes the one of its `LOCAL_RANK`, so start
as many processes as GPUs. `KERAS_TORCH_DEVICE=cpu` leaves them alone.

On several machines `torchrun` takes `--nnodes` and `--rdzv-endpoint`, and the
folder of `--output` must be one that all machines see.

Without `torchrun` the script is one process: `python
examples/distributed_torch.py --smoke`.
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

All processes load the same images. State that depends on data is synchronized:
`BatchCentering` subtracts the mean of the whole batch, and the loss compares
the means of classes over the whole batch. So two processes train the same
network as one process does, except for the rounding of sums.
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
            kl.layers.BatchCentering(synchronized=True),
            kl.layers.MaxMin(),
            kl.layers.LipschitzDense(units),
            kl.layers.MaxMin(),
            kl.layers.UnitNormDense(10),
        ]
    )
    loss = kl.losses.MulticlassHKR(10.0, 0.5, synchronized=True)
    model.compile(keras.optimizers.Adam(0.005), loss)
    return model


"""
## Checkpoints

A `.keras` file contains the weights, the states of layers and the optimizer. It
is written under another name and then renamed, so a process that dies while it
writes leaves the older checkpoint as the last one.
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


def save_checkpoint(model, folder, epochs):
    """Writes a checkpoint whole or not at all."""
    path = folder / f"epoch_{epochs:04}.keras"
    partial = folder / f"partial_{path.name}"
    model.save(partial)
    os.replace(partial, path)
    return path


"""
## Training

The order of the images depends on the seed and the epoch alone. A resumed run
therefore sees the batches that an uninterrupted run sees.
"""


def choose_device():
    """Gives each process a GPU of its own, if this machine has any.

    Returns:
        String. The engine that connects the processes.
    """
    import torch

    device = os.environ.get("KERAS_TORCH_DEVICE", "cuda")
    if not (torch.cuda.is_available() and device.startswith("cuda")):
        return "gloo"
    local, count = (
        int(os.environ.get("LOCAL_RANK", 0)),
        torch.cuda.device_count(),
    )
    if local >= count:
        raise SystemExit(
            "Every process needs a GPU of its own. Start as many processes as "
            "there are GPUs, or set KERAS_TORCH_DEVICE=cpu. Received: "
            f"LOCAL_RANK={local} with {count} GPUs"
        )
    # Keras computes on the current one.
    torch.cuda.set_device(local)
    return "nccl"


def train_epoch(model, replica, data, epoch, settings, rank, processes):
    """Trains on this process's part of every batch of an epoch."""
    import torch

    x, y = data
    size = settings.batch_size
    order = np.random.default_rng((settings.seed, epoch)).permutation(len(x))
    # Gradients are averaged over processes: all parts have the same size.
    for start in range(0, len(x) - size + 1, size):
        part = order[start : start + size][rank::processes]
        inputs = keras.ops.convert_to_tensor(x[part])
        labels = keras.ops.convert_to_tensor(y[part])
        model.zero_grad()
        outputs = replica(inputs, training=True)
        model.compute_loss(inputs, labels, outputs).backward()
        weights = model.trainable_weights
        gradients = [weight.value.grad for weight in weights]
        with torch.no_grad():
            model.optimizer.apply(gradients, weights)


def train(folder, settings, rank, processes):
    """Trains all epochs that are left, and returns the model."""
    import torch

    check_settings(folder, settings, rank == 0)
    done, path = find_checkpoint(folder)
    keras.utils.set_random_seed(settings.seed)
    if path is None:
        model = make_model(settings.units)
    else:
        model = keras.models.load_model(path)
    if rank == 0:
        print(f"{processes} processes, resumed after {done} epochs", flush=True)
    replica = model
    if processes > 1:
        replica = torch.nn.parallel.DistributedDataParallel(model)
    data, _ = load_data()
    for epoch in range(done, settings.epochs):
        train_epoch(model, replica, data, epoch, settings, rank, processes)
        if rank == 0:
            save_checkpoint(model, folder, epoch + 1)
    return model, done


"""
## Certificates

Every process certifies every n-th batch of the test images. The merged report
is the report that one process would make.
"""


def certify(model, folder, rank, processes):
    """Returns the merged report in the first process, elsewhere `None`."""
    import torch

    _, (x, y) = load_data()
    report = kl.certificates.certify(
        model, x, y, RADII, batch_size=64, shard=(rank, processes)
    )
    report.save(folder / f"shard_{rank}.npz", overwrite=True)
    if processes > 1:
        torch.distributed.barrier()
    if rank > 0:
        return None
    paths = [folder / f"shard_{index}.npz" for index in range(processes)]
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
    settings = parser.parse_args(argv)
    if keras.backend.backend() != "torch":
        raise SystemExit(
            "This example needs PyTorch: set KERAS_BACKEND=torch. Received: "
            f"{keras.backend.backend()}"
        )
    settings.units = 32 if settings.smoke else 128
    settings.epochs = settings.epochs or (4 if settings.smoke else 40)
    processes = int(os.environ.get("WORLD_SIZE", 1))
    rank = int(os.environ.get("RANK", 0))
    if settings.batch_size % processes:
        raise SystemExit(
            "--batch-size must be a multiple of the number of processes. "
            f"Received: {settings.batch_size} for {processes} processes"
        )
    folder = settings.output or pathlib.Path("distributed_torch")
    folder.mkdir(parents=True, exist_ok=True)
    engine = choose_device()
    if processes > 1:
        import torch

        torch.distributed.init_process_group(engine)
    model, resumed = train(folder, settings, rank, processes)
    report = certify(model, folder, rank, processes)
    if processes > 1:
        torch.distributed.destroy_process_group()
    if report is None:
        return
    print(report)
    results = {
        "processes": processes,
        "epochs": settings.epochs,
        "resumed_after": resumed,
        "accuracy": report.accuracy,
        "certified_accuracy": {
            str(radius): report.certified_accuracy(radius) for radius in RADII
        },
        "sha256": report.audit.sha256,
    }
    path = folder / "distributed_torch.json"
    path.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
