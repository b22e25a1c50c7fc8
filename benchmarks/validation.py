"""Measures how much time certified metrics add to a training epoch.

    python benchmarks/validation.py

runs training steps and evaluates after each of them with and without a
`keras_lip.metrics.CertifiedAccuracy`, in turns in one process. The table
contains the seconds of an epoch with the given number of steps, the seconds of
a validation, and the fraction of an epoch with its validation that the metric
adds. The weights change before every validation, so every proof is computed
again.
"""

import argparse
import pathlib
import statistics
import time

import keras
import numpy as np
from timing import describe_run

import keras_lip as kl

COLUMNS = (
    "network",
    "parameters",
    "epoch, s",
    "validation, s",
    "with the metric, s",
    "metric / epoch",
)
IMAGES = {"mnist": (60_000, (28, 28, 1)), "cifar10": (50_000, (32, 32, 3))}


def make_networks(smoke):
    """Returns functions that create a network and its data, by name."""
    apps = kl.applications

    def dense(shape):
        return kl.models.LipschitzSequential(
            [
                keras.Input(shape),
                keras.layers.Flatten(),
                kl.layers.OrthogonalDense(256),
                kl.layers.GroupSort(2),
                kl.layers.OrthogonalDense(256),
                kl.layers.GroupSort(2),
                kl.layers.UnitNormDense(10),
            ]
        )

    networks = {
        "three dense layers of 256": (dense, "mnist"),
        "LargeConvNet": (apps.LargeConvNet, "cifar10"),
        "ConvexPotentialNet S": (
            lambda shape: apps.ConvexPotentialNet("S", shape),
            "cifar10",
        ),
        "LiResNet, 6 x 64": (
            lambda shape: apps.LiResNet(
                shape, depth=6, width=64, dense_depth=4, units=256
            ),
            "cifar10",
        ),
    }
    return dict(list(networks.items())[:1]) if smoke else networks


def measure(make, data, batch_size, validated, rounds):
    """Returns the parameters, and the seconds of an epoch and validations."""
    count, shape = IMAGES[data]
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(max(batch_size, validated), *shape))
    x, y = x.astype("float32"), np.arange(len(x)) % 10
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    models = {}
    for name, metrics in (
        ("plain", []),
        ("certified", [kl.metrics.CertifiedAccuracy(36 / 255)]),
    ):
        models[name] = make(shape)
        models[name].compile(keras.optimizers.SGD(1e-3), loss, metrics=metrics)
    seconds = {"step": [], "plain": [], "certified": []}
    for turn in range(rounds + 1):
        for name, model in models.items():
            start = time.perf_counter()
            model.train_on_batch(x[:batch_size], y[:batch_size])
            step = time.perf_counter() - start
            start = time.perf_counter()
            model.evaluate(x[:validated], y[:validated], batch_size, verbose=0)
            if turn:
                # The first turn includes compilation.
                seconds["step"].append(step)
                seconds[name].append(time.perf_counter() - start)
    found = {name: statistics.median(each) for name, each in seconds.items()}
    epoch = found["step"] * (count // batch_size)
    parameters = models["plain"].count_params()
    return parameters, epoch, found["plain"], found["certified"]


def main():
    """Prints the table, one row at a time."""
    parser = argparse.ArgumentParser(description="Measure certified metrics.")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--validated", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument(
        "--smoke", action="store_true", help="measure the smallest network once"
    )
    parsed = parser.parse_args()
    rounds = 1 if parsed.smoke else parsed.rounds
    lines = [
        f"Training in batches of {parsed.batch_size}, validation on "
        f"{parsed.validated} images, medians of {rounds} rounds; "
        f"{describe_run()}",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|" + "---|" * len(COLUMNS),
    ]
    print("\n".join(lines))
    for name, (make, data) in make_networks(parsed.smoke).items():
        parameters, epoch, plain, certified = measure(
            make, data, parsed.batch_size, parsed.validated, rounds
        )
        share = (certified - plain) / (epoch + plain)
        cells = (
            name,
            f"{parameters:,}",
            f"{epoch:.4g}",
            f"{plain:.4g}",
            f"{certified:.4g}",
            f"{100 * share:.1f} %",
        )
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    if parsed.output:
        parsed.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
