"""Compares the cost of proven norms with singular value decompositions.

    python benchmarks/proofs.py

times the bounds of dense and convolution kernels and the float64 singular
values in turns in the same process, and prints a Markdown table. For a
convolution, the reference is the largest singular value on a grid of 16 x 16
frequencies, of which about half are computed, because the others are conjugate
to them. It is an estimate from below, not a bound.

The process keeps the memory of freed arrays. Otherwise each proof would wait
for new memory, which takes several times as long on some machines.
"""

import argparse
import pathlib

import numpy as np
from timing import describe_run
from timing import keep_memory
from timing import measure

from keras_lip.proofs.convolution_norm_bound import convolution_norm_bound
from keras_lip.proofs.matrix_norms import spectral_norm_bound

FREQUENCIES = 16

COLUMNS = (
    "kernel",
    "proof, ms",
    "singular values, ms",
    "proof / singular values",
    "bound / singular value - 1",
)


def largest_singular_value(kernel):
    """Returns the norm of a matrix, or an estimate for a convolution."""
    if kernel.ndim == 2:
        return float(np.linalg.svd(kernel, compute_uv=False)[0])
    symbols = np.fft.rfft2(kernel, [FREQUENCIES] * 2, (0, 1))
    return float(np.max(np.linalg.svd(symbols, compute_uv=False)))


def make_kernels(smoke):
    """Returns random and nearly orthogonal kernels, by name."""
    rng = np.random.default_rng(0)
    shapes = [(1024, 1024), (2880, 2048), (4096, 4096)]
    shapes += [(3, 3, 64, 64), (3, 3, 128, 128), (3, 3, 256, 256)]
    if smoke:
        shapes = [(300, 256), (3, 3, 8, 8)]
    kernels = {}
    for shape in shapes:
        kernel = rng.standard_normal(shape)
        name = " x ".join(map(str, shape))
        kernels[f"{name}, random"] = kernel
        if len(shape) == 2:
            orthogonal = np.linalg.qr(kernel)[0].astype("float32")
            kernels[f"{name}, orthogonal"] = orthogonal.astype("float64")
    return kernels


def measure_proof(name, kernel, rounds):
    """Returns a row of the table."""
    bound = spectral_norm_bound if kernel.ndim == 2 else convolution_norm_bound
    times = measure(
        {
            "proof": lambda: bound(kernel),
            "values": lambda: largest_singular_value(kernel),
        },
        rounds,
        warm_up=0 if rounds == 1 else 1,
    )
    excess = bound(kernel) / largest_singular_value(kernel) - 1
    return (
        name,
        f"{times['proof']:.4g}",
        f"{times['values']:.4g}",
        f"{times['proof'] / times['values']:.2f}",
        f"{excess:.1e}",
    )


def main():
    """Prints the table, one row at a time."""
    parser = argparse.ArgumentParser(description="Measure the cost of proofs.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument(
        "--smoke", action="store_true", help="measure small kernels once"
    )
    arguments = parser.parse_args()
    rounds = 1 if arguments.smoke else arguments.rounds
    title = f"Proofs in float64, medians of {rounds} rounds; {describe_run()}"
    if keep_memory():
        title += ", freed memory kept"
    lines = [title, ""]
    lines += [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    print("\n".join(lines))
    for name, kernel in make_kernels(arguments.smoke).items():
        row = f"| {' | '.join(measure_proof(name, kernel, rounds))} |"
        print(row, flush=True)
        lines.append(row)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
