"""Measures what the fast gradient of skew orthogonal convolutions saves.

    KERAS_BACKEND=torch python benchmarks/soc_gradients.py

times a training step of LipConvNet-5 to -40 with the exact and with the fast
gradient, in turns in one process, and prints a Markdown table (table 1 of
Singla & Feizi, 2022, who time whole epochs of networks of width 32). The last
column is the reduction in the paper, on a GPU.
"""

import argparse
import pathlib

import keras
import numpy as np
from timing import describe_run
from timing import keep_memory
from timing import measure
from timing import step_model

import keras_lip as kl

SHAPE = (32, 32, 3)
# https://arxiv.org/abs/2211.08453, table 1, reductions in percent.
PAPER = {
    5: 17.27,
    10: 23.39,
    15: 26.17,
    20: 25.96,
    25: 28.99,
    30: 29.74,
    35: 30.66,
    40: 32.16,
}
COLUMNS = "LipConvnet", "exact, ms", "fast, ms", "reduction, %", "paper, %"


def make_steps(depth, width, images):
    """Returns training steps of a network, by the kind of gradient."""
    labels = np.arange(len(images)) % 10
    steps = {}
    for gradient in "exact", "fast":
        network = kl.applications.LipConvNet(
            depth,
            SHAPE,
            width=width,
            convolution_arguments={"gradient": gradient},
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        steps[gradient] = step_model(network, images, labels, loss)
    return steps


def main():
    """Runs the benchmark and prints its table, one row at a time."""
    parser = argparse.ArgumentParser(description="Measure SOC's gradients.")
    parser.add_argument("--depths", type=int, nargs="+", default=[*PAPER])
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=pathlib.Path)
    parsed = parser.parse_args()
    title = (
        f"Training step: LipConvNet of width {parsed.width}, batch "
        f"{parsed.batch_size}, medians of {parsed.rounds} rounds; "
        f"{describe_run()}"
    )
    if keep_memory():
        title += ", freed memory kept"
    lines = [title, "", f"| {' | '.join(COLUMNS)} |", "|---" * 5 + "|"]
    print("\n".join(lines))
    images = np.random.default_rng(0).uniform(size=(parsed.batch_size, *SHAPE))
    for depth in parsed.depths:
        steps = make_steps(depth, parsed.width, images.astype("float32"))
        times = measure(steps, parsed.rounds)
        reduction = 100 * (1 - times["fast"] / times["exact"])
        cells = (
            str(depth),
            f"{times['exact']:.1f}",
            f"{times['fast']:.1f}",
            f"{reduction:.1f}",
            f"{PAPER[depth]}" if depth in PAPER else "–",
        )
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    if parsed.output is not None:
        parsed.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
