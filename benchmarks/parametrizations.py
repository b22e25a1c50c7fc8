"""Measures the cost of constrained dense kernels in training.

Times the forward pass, backward pass and update of two 512 x 512 layers, for
each parametrization in `PARAMETRIZATIONS` and for a plain `Dense`. They take
turns in one process. The script writes a Markdown table:

    KERAS_BACKEND=jax python benchmarks/parametrizations.py
"""

import argparse
import pathlib
from collections.abc import Callable

import keras
import numpy as np
from timing import describe_run
from timing import make_training_step
from timing import measure

import keras_lip as kl

PARAMETRIZATIONS = {
    "Cayley": kl.parametrizations.Cayley(),
    "Cholesky": kl.parametrizations.Cholesky(),
    "QR": kl.parametrizations.QR(),
    "Exponential": kl.parametrizations.Exponential(),
    "Bjorck, 15 iterations": kl.parametrizations.Bjorck(15),
    "Bjorck, 3 iterations": kl.parametrizations.Bjorck(3),
    "AOL": kl.parametrizations.AOL(),
    "Spectral": kl.parametrizations.Spectral(),
    "Frobenius": kl.parametrizations.Frobenius(),
}


def make_steps(units: int, batch_size: int) -> dict[str, Callable]:
    """Returns a training step for each parametrization, the plain one first."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch_size, units)).astype("float32")
    two_layers = {"Dense": [keras.layers.Dense(units) for _ in range(2)]}
    for name, parametrization in PARAMETRIZATIONS.items():
        two_layers[name] = [
            kl.layers.LipschitzDense(units, parametrization=parametrization)
            for _ in range(2)
        ]
    return {
        name: make_training_step(layers, x, "mse")
        for name, layers in two_layers.items()
    }


def main() -> None:
    """Runs the benchmark and writes its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", default=[128, 4096]
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--output", type=pathlib.Path)
    arguments = parser.parse_args()
    columns = [
        measure(make_steps(arguments.units, batch_size), arguments.rounds)
        for batch_size in arguments.batch_sizes
    ]
    header = ["kernel"]
    for batch_size in arguments.batch_sizes:
        header += [f"batch {batch_size}: ms", "ratio"]
    rows = [header, ["---"] * len(header)]
    for name in columns[0]:
        row = [name]
        for times in columns:
            ratio = times[name] / times["Dense"]
            row += [f"{times[name]:.1f}", f"{ratio:.1f}"]
        rows.append(row)
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    title = (
        f"Two {arguments.units} x {arguments.units} layers, forward, backward "
        f"and update, medians of {arguments.rounds} rounds; {describe_run()}"
    )
    print(f"{title}\n\n{table}")
    if arguments.output is not None:
        arguments.output.write_text(f"{title}\n\n{table}\n")


if __name__ == "__main__":
    main()
