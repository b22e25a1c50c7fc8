"""Measures the cost of constrained convolutions in training and inference.

Times the forward pass, backward pass and update of one 3 x 3 convolution, with
64 channels on images of 32 x 32, for every constrained layer and for the plain
convolution of the same backend. They take turns in one process. The script
writes a Markdown table:

    KERAS_BACKEND=tensorflow python benchmarks/layers.py

The floor next to a ratio is the number of convolutions that the layer must
compute, divided by the three of a plain step. The plain layer pads with zeros,
and ours with `--padding-mode`, except that BRO, Cayley and LOT support only
circular padding. `--inference` times the materialized layers instead, and
`--memory` measures the peak memory of each layer in its own process. If
deel-torchlip or orthogonium is installed (extra `benchmarks`), a second table
compares its layers with ours, both in the same loop of plain PyTorch
(`layer_peers.py`).
"""

import argparse
import dataclasses
import multiprocessing
import pathlib
import resource
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from layer_peers import format_pairs
from layer_peers import make_pairs
from timing import describe_run
from timing import keep_memory
from timing import make_inference
from timing import make_training_step
from timing import measure
from timing import read_device_peak

import keras_lip as kl
from keras_lip.layers.registry import CONVOLUTIONS
from keras_lip.layers.registry import MEASURED_CONVOLUTIONS
from keras_lip.layers.registry import RESIDUAL_BLOCKS

CHANNELS = 64
KERNEL_SIZE = 3
SIDE = 32


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A function from a padding mode to a layer, and the floor of its cost."""

    make: Callable[[str], Any]
    floor: float


PLAIN = "Conv2D (plain)"
_METHODS = {**CONVOLUTIONS, **MEASURED_CONVOLUTIONS, **RESIDUAL_BLOCKS}

# Complex products at half of the frequencies, without transforms and solves.
_FOURIER_FLOOR = 4 * (SIDE // 2 + 1) / SIDE / KERNEL_SIZE**2
# A residual block computes two convolutions, and the other methods one.
_FLOORS = {
    **dict.fromkeys(RESIDUAL_BLOCKS, 2.0),
    **dict.fromkeys(("bro", "cayley", "lot"), _FOURIER_FLOOR),
}


def _make_candidate(method: str, **arguments: Any) -> Candidate:
    def make(mode: str) -> keras.layers.Layer:
        # Layers in the Fourier domain support only circular padding.
        if method in ("bro", "cayley", "lot"):
            mode = "circular"
        return _METHODS[method](
            CHANNELS, KERNEL_SIZE, padding_mode=mode, **arguments
        )

    return Candidate(make, _FLOORS.get(method, 1.0))


def _make_soc(terms: int, gradient: str) -> Candidate:
    # Each term is a convolution, forward and backward. There is one gradient of
    # the kernel, or one for each term.
    weight_gradients = 1 if gradient == "fast" else terms
    candidate = _make_candidate("soc", train_terms=terms, gradient=gradient)
    floor = (2 * terms + weight_gradients) / 3
    return dataclasses.replace(candidate, floor=floor)


CANDIDATES = {
    PLAIN: Candidate(
        lambda mode: keras.layers.Conv2D(CHANNELS, KERNEL_SIZE, padding="same"),
        1,
    ),
    **{
        layer_cls.__name__: _make_candidate(method)
        for method, layer_cls in _METHODS.items()
        if method != "soc"
    },
    # Two matrices, applied to the channels of each pixel.
    "LipNeXtBlock": Candidate(
        lambda mode: kl.layers.LipNeXtBlock(padding_mode=mode),
        2 / KERNEL_SIZE**2,
    ),
    "RKOConv2D, Cayley": _make_candidate("rko", parametrization="cayley"),
    "SOCConv2D, 5 terms": _make_soc(5, "fast"),
    "SOCConv2D, 5 terms, exact": _make_soc(5, "exact"),
    "SOCConv2D, 12 terms": _make_soc(12, "fast"),
    "SOCConv2D, 12 terms, exact": _make_soc(12, "exact"),
}


class Shift(keras.layers.Layer):
    """Adds a trained bias, so that the next layer needs an input gradient."""

    def build(self, input_shape: Any) -> None:
        self.bias = self.add_weight(shape=(input_shape[-1],))

    def call(self, inputs: Any) -> Any:
        return inputs + self.bias


def make_images(batch_size: int) -> Any:
    """Returns a batch of random images."""
    shape = (batch_size, SIDE, SIDE, CHANNELS)
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def make_steps(
    batch_size: int, mode: str, inference: bool
) -> dict[str, Callable]:
    """Returns a function to time for each candidate, the plain one first."""
    images = make_images(batch_size)
    steps = {}
    for name, candidate in CANDIDATES.items():
        layer = candidate.make(mode)
        if not inference:
            steps[name] = make_training_step([Shift(), layer], images, "mse")
            continue
        model = keras.Sequential([keras.Input(images.shape[1:]), layer])
        stock = kl.models.materialize(model)
        steps[name] = make_inference([stock], images)
    return steps


def measure_memory(name: str, batch_size: int, mode: str, queue: Any) -> None:
    """Puts the peak memory of two training steps on a queue, in MiB."""
    images = make_images(batch_size)
    step = make_training_step(
        [Shift(), CANDIDATES[name].make(mode)], images, "mse"
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step()
    step()
    peak = read_device_peak()
    if peak is None:
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak = (after - before) * 1024
    queue.put(peak / 2**20)


def compare_memory(batch_size: int, mode: str) -> dict[str, float]:
    """Measures the peak memory of every candidate in a new process."""
    context = multiprocessing.get_context("spawn")
    peaks = {}
    for name in CANDIDATES:
        queue = context.Queue()
        process = context.Process(
            target=measure_memory, args=(name, batch_size, mode, queue)
        )
        process.start()
        peaks[name] = queue.get()
        process.join()
    return peaks


def format_table(values: dict[str, float], unit: str, floors: bool) -> str:
    """Returns a table of the values and their ratios to the first one."""
    plain = next(iter(values.values()))
    rows = [["layer", unit, "ratio"] + ["floor"] * floors]
    rows.append(["---"] * len(rows[0]))
    for name, value in values.items():
        row = [name, f"{value:.1f}", f"{value / plain:.2f}"]
        if floors:
            row.append(f"{CANDIDATES[name].floor:.2f}")
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    """Runs the benchmark and writes its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--padding-mode", choices=["circular", "zeros"], default="circular"
    )
    parser.add_argument("--inference", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--output", type=pathlib.Path)
    arguments = parser.parse_args()
    batch_size, mode = arguments.batch_size, arguments.padding_mode
    subject = (
        f"{KERNEL_SIZE} x {KERNEL_SIZE} convolutions, {CHANNELS} to {CHANNELS} "
        f"channels, {SIDE} x {SIDE} images, batch {batch_size}, {mode} padding"
    )
    if arguments.memory:
        title = f"Peak memory of a training step: {subject}; {describe_run()}"
        tables = [
            format_table(compare_memory(batch_size, mode), "MiB", floors=False)
        ]
    else:
        what = "Inference" if arguments.inference else "Training step"
        title = (
            f"{what}: {subject}, medians of {arguments.rounds} rounds; "
            f"{describe_run()}"
        )
        if keep_memory():
            title += ", freed memory kept"
        ours = make_steps(batch_size, mode, arguments.inference)
        pairs = {}
        if not arguments.inference:
            pairs = make_pairs(
                lambda name: CANDIDATES[name].make(mode),
                make_images(batch_size),
                KERNEL_SIZE,
                mode,
            )
        times = measure(ours, arguments.rounds)
        tables = [
            format_table(
                {name: times[name] for name in ours},
                "ms",
                floors=not arguments.inference,
            )
        ]
        if pairs:
            tables.append(format_pairs(measure(pairs, arguments.rounds)))
    text = "\n\n".join([title, *tables])
    print(text)
    if arguments.output is not None:
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
