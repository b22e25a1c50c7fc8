"""# An invertible network, and how far its inverse is off

A residual block `x + c f(x)` with a 1-Lipschitz `f` and `c < 1` is invertible:
`x = y - c f(x)` is a contraction, and its steps converge to the only input with
the output `y`. The constant says how fast. This script trains a classifier of
digits of such blocks, and inverts its features. It sets the proven error bounds
beside the true errors, and writes `invertible_network.json` and
`invertible_network.png`.

    python examples/invertible_network.py
"""

import argparse
import json
import pathlib

import keras
import numpy as np
from keras import ops

import keras_lip as kl

SCALES = (0.3, 0.5, 0.7, 0.9)
SHOWN_STEPS = (1, 2, 4, 8, 40)
NUM_SHOWN = 6

"""
## The data

Digits of 8 x 8 pixels in [0, 1], as vectors. A quarter is held out.
"""


def load_digits():
    """Returns `(x_train, y_train), (x_test, y_test)`."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        (images / 16).astype("float32"),
        labels,
        test_size=0.25,
        stratify=labels,
        random_state=0,
    )
    return (x_train, y_train), (x_test, y_test)


"""
## The network

`InvertibleResidual` keeps the shape of its inputs, so the features of a digit
have as many entries as it has pixels. Every block is known to be invertible at
any time of training.
"""


def make_network(scale, units, num_blocks):
    """Returns a classifier with invertible features."""
    layers = [keras.Input((units,))]
    for _ in range(num_blocks):
        branch = [
            kl.layers.OrthogonalDense(units),
            kl.layers.MaxMin(),
            kl.layers.OrthogonalDense(units),
        ]
        layers.append(kl.layers.InvertibleResidual(branch, scale))
    layers.append(kl.layers.UnitNormDense(10))
    return kl.models.LipschitzSequential(layers)


def train(model, data, epochs):
    """Trains a classifier."""
    loss = kl.losses.TemperatureSparseCategoricalCrossentropy(8.0)
    model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    model.fit(*data, epochs=epochs, batch_size=64, verbose=0)


"""
## Two bounds

Let `q = c L` with the proven bound `L` of `f`. Before the inverse runs, the
error after `n` steps is known to be at most `q^n / (1 - q) |c f(y)|`. After it
ran, the distance of its image from `y` gives a second bound, which holds for
the numbers found, rounding errors included. The digit itself is an approximate
inverse as well, because its features were rounded, and its own bound is added.
"""


def invert_block(block, outputs, inputs, max_steps):
    """Returns the errors and bounds after each number of steps.

    The largest of all samples is returned.
    """
    rows = []
    rounded = block.input_error_bound(inputs, outputs)
    for steps in range(1, max_steps + 1):
        found = ops.convert_to_numpy(block.inverse(outputs, steps=steps))
        before = block.inverse_error_bound(outputs, steps=steps)
        after = block.input_error_bound(found, outputs)
        rows.append(
            {
                "steps": steps,
                "error": float(distances(found, inputs).max()),
                "bound_before": float(before.max()),
                "bound_after": float((after + rounded).max()),
            }
        )
    return rows


def distances(found, exact):
    """Returns the l2 distance of each sample."""
    return np.linalg.norm(found.astype("float64") - exact, axis=1)


"""
## The inverse of several blocks

The blocks are inverted from the last to the first. If the output of a block is
known up to `e`, its input is known up to `e / (1 - q)` and the error of its own
inverse, because the outputs of a block are at least `1 - q` times as far apart
as its inputs.
"""


def invert_network(blocks, features, steps):
    """Inverts all blocks, and returns the inputs of each, and the features."""
    values = [features]
    for block in reversed(blocks):
        found = block.inverse(values[0], steps=steps)
        values.insert(0, ops.convert_to_numpy(found))
    return values


def bound_error(blocks, values):
    """Bounds how far the first values are from the exact inverse of the last.

    Args:
        blocks: List of blocks.
        values: List of the approximate inputs of each block, and the features.
    """
    error = np.zeros(len(values[0]))
    for block, inputs, outputs in reversed(
        [*zip(blocks, values[:-1], values[1:], strict=True)]
    ):
        alone = keras.Sequential([keras.Input(inputs.shape[1:]), block])
        error = error / kl.bounds.contraction_bound(alone)
        error = error + block.input_error_bound(inputs, outputs)
        error *= 1 + 2.0**-50  # more than both operations round
    return error


def run_blocks(blocks, x):
    """Returns the outputs of all blocks in float32, the inputs first."""
    values = [x]
    for block in blocks:
        values.append(ops.convert_to_numpy(block(values[-1])))
    return values


def measure(arguments, scale, data, x_test, y_test):
    """Trains a network of a given scale, and inverts it."""
    keras.utils.set_random_seed(arguments.seed)
    model = make_network(scale, x_test.shape[1], arguments.blocks)
    train(model, data, arguments.epochs)
    blocks = model.layers[:-1]
    x = x_test[: arguments.samples]
    values = run_blocks(blocks, x)
    row = {
        "scale": scale,
        "accuracy": model.evaluate(x_test, y_test, verbose=0)[1],
        "lipschitz_bound": kl.bounds.lipschitz_bound(model),
        "block": invert_block(
            blocks[0], values[1], values[0], arguments.max_steps
        ),
        "network": [],
        "pictures": [],
    }
    rounded = bound_error(blocks, values)
    for steps in SHOWN_STEPS:
        inverted = invert_network(blocks, values[-1], steps)
        found, bound = inverted[0], bound_error(blocks, inverted) + rounded
        row["network"].append(
            {
                "steps": steps,
                "error": float(distances(found, x).max()),
                "bound": float(bound.max()),
            }
        )
        row["pictures"].append(to_pixels(found[:NUM_SHOWN]))
    return row


def to_pixels(images):
    """Returns images as lists of integers, mostly from 0 to 255."""
    pixels = np.round(255 * np.clip(images, -1, 2)).astype(int)
    return pixels.reshape(-1, 8, 8).tolist()


"""
## The picture
"""


def draw(results, path):
    """Draws the results."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.3, 1))
    axes = left.subplots()
    for color, row in enumerate(results["scales"]):
        steps = [each["steps"] for each in row["block"]]
        for name, style in (
            ("error", "-"),
            ("bound_before", ":"),
            ("bound_after", "--"),
        ):
            axes.semilogy(
                steps,
                [each[name] for each in row["block"]],
                style,
                color=f"C{color}",
                label=f"c = {row['scale']}" if name == "error" else None,
            )
    axes.plot([], [], "k-", label="true error")
    axes.plot([], [], "k:", label="bound before the steps")
    axes.plot([], [], "k--", label="bound after the steps")
    axes.set_ylim(1e-8, 1e2)
    axes.set_xlabel("steps")
    axes.set_ylabel("largest error of a digit (l2)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    row = results["scales"][len(results["scales"]) // 2]
    shown = {"input": results["inputs"]}
    for each, pixels in zip(row["network"], row["pictures"], strict=True):
        shown[f"n = {each['steps']}"] = pixels
    grid = right.subplots(len(shown), 1)
    for axes, (name, pixels) in zip(grid, shown.items(), strict=True):
        framed = np.pad(pixels, [(0, 0), (1, 1), (1, 1)])
        axes.imshow(
            np.concatenate(framed, axis=1), cmap="gray_r", vmin=0, vmax=255
        )
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        axes.set_xticks([])
        axes.set_yticks([])
    right.suptitle(
        f"inverse of {results['blocks']} blocks by n steps, c = {row['scale']}",
        fontsize="medium",
    )
    figure.savefig(path, format="png", dpi=130)


def round_floats(value, digits=5):
    """Rounds all floats of nested dicts and lists."""
    if isinstance(value, dict):
        return {key: round_floats(each, digits) for key, each in value.items()}
    if isinstance(value, list):
        return [round_floats(each, digits) for each in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def parse_arguments(argv):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Invert a network.")
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--max-steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=pathlib.Path("invertible_network"),
    )
    parser.add_argument("--smoke", action="store_true", help="in seconds")
    arguments = parser.parse_args(argv)
    if arguments.smoke:
        arguments.blocks, arguments.epochs = 2, 1
        arguments.samples, arguments.max_steps = 8, 12
    return arguments


def main(argv=None):
    """Trains, inverts and writes."""
    arguments = parse_arguments(argv)
    data, (x_test, y_test) = load_digits()
    results = {
        "blocks": arguments.blocks,
        "epochs": arguments.epochs,
        "seed": arguments.seed,
        "inputs": to_pixels(x_test[:NUM_SHOWN]),
        "scales": [],
    }
    print("   c  accuracy  steps  true error  bound before  bound after")
    for scale in SCALES[1:2] if arguments.smoke else SCALES:
        row = measure(arguments, scale, data, x_test, y_test)
        results["scales"].append(row)
        for each in row["block"]:
            if each["steps"] in SHOWN_STEPS:
                print(
                    f"{scale:>4}  {row['accuracy']:>8.1%}  "
                    f"{each['steps']:>5}  {each['error']:>10.2e}  "
                    f"{each['bound_before']:>12.2e}  "
                    f"{each['bound_after']:>11.2e}"
                )
        for each in row["network"]:
            print(
                f"{scale:>4}  all {arguments.blocks} blocks, "
                f"{each['steps']} steps each: error {each['error']:.2e}, "
                f"bound {each['bound']:.2e}",
                flush=True,
            )
    results = round_floats(results)
    arguments.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, separators=(",", ":"))
    (arguments.output / "invertible_network.json").write_text(text + "\n")
    draw(results, arguments.output / "invertible_network.png")
    print(
        f"Written to {arguments.output}/: invertible_network.json, "
        "invertible_network.png"
    )


if __name__ == "__main__":
    main()
