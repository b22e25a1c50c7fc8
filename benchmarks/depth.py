"""Measures the cost of depth in networks of up to a thousand layers.

    python benchmarks/depth.py --depths 100 300 1000

builds, compiles, trains, saves and loads a convex potential network of each
depth on MNIST, whose images are downsampled to 7 x 7 pixels of 16 channels. It
prints the seconds of each part, the peak memory, and the accuracy after a short
training (figure 2 of Meunier et al., 2022). The blocks form a `LayerStack`, or
with `--written-out` separate layers. Each depth runs in its own process, so
that its memory can be measured. TensorFlow's graph optimizer is switched off,
because its time grows with the square of the number of layers.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
from timing import describe_run

import keras_lip as kl

# The ratio to the 16 channels is close to the 5 to 30 of the paper.
HIDDEN_FILTERS = 3

# With biases of zero, half of the hidden units are active, and a thousand
# untrained blocks map all images to nearly the same point.
BIAS_INITIALIZER = keras.initializers.Constant(-0.5)

COLUMNS = {
    "depth": "depth",
    "build": "build, s",
    "first_step": "first step, s",
    "step": "step, ms",
    "accuracy": "accuracy",
    "save": "save, s",
    "load": "load, s",
    "memory": "memory, MiB",
}


def make_network(depth, written_out):
    """Returns a network with the given number of convex potential layers."""
    blocks = [
        kl.layers.ConvexPotentialConv2D(
            HIDDEN_FILTERS, 3, bias_initializer=BIAS_INITIALIZER
        )
        for _ in range(depth if written_out else 1)
    ]
    return kl.models.LipschitzSequential(
        [
            keras.Input((28, 28, 1)),
            kl.layers.InvertibleDownsampling2D(4),
            *(blocks if written_out else [kl.layers.LayerStack(blocks, depth)]),
            keras.layers.Flatten(),
            kl.layers.UnitNormDense(10),
        ]
    )


def load_mnist(data_dir):
    """Returns images in [0, 1] and labels, for training and test."""
    import tensorflow_datasets as tfds

    parts = tfds.load(
        "mnist",
        split=["train", "test"],
        batch_size=-1,
        as_supervised=True,
        data_dir=data_dir,
    )
    return [
        (np.asarray(x, "float32") / 255, np.asarray(y, "int64"))
        for x, y in map(tfds.as_numpy, parts)
    ]


def clock(action):
    """Returns the result of an action and the seconds that it takes."""
    began = time.perf_counter()
    result = action()
    return result, time.perf_counter() - began


def measure(depth, written_out, steps, batch_size, data_dir):
    """Returns the costs and the accuracy of a network of one depth."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options(
            {"disable_meta_optimizer": True}
        )
    (x, y), (x_test, y_test) = load_mnist(data_dir)
    keras.utils.set_random_seed(0)
    order = np.random.default_rng(0).permutation(len(x))[: steps * batch_size]
    x, y = x[order], y[order]
    model, build = clock(lambda: make_network(depth, written_out))
    schedule = keras.optimizers.schedules.CosineDecay(
        1e-4, steps, warmup_target=5e-3, warmup_steps=steps // 10
    )
    model.compile(
        keras.optimizers.Adam(schedule),
        kl.losses.TemperatureSparseCategoricalCrossentropy(8.0),
        metrics=["accuracy"],
    )

    def train(part):
        model.fit(
            x[part], y[part], batch_size=batch_size, shuffle=False, verbose=0
        )

    _, first_step = clock(lambda: train(slice(0, batch_size)))
    _, seconds = clock(lambda: train(slice(batch_size, None)))
    # A single batch, because every batch estimates the steps of all blocks.
    accuracy = model.evaluate(
        x_test[:2000], y_test[:2000], batch_size=2000, verbose=0
    )[1]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.keras"
        _, save = clock(lambda: model.save(path))
        _, load = clock(lambda: keras.models.load_model(path))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "depth": depth,
        "build": build,
        "first_step": first_step,
        "step": 1000 * seconds / (steps - 1),
        "accuracy": accuracy,
        "save": save,
        "load": load,
        "memory": peak,
    }


def format_table(rows):
    """Returns the rows as a Markdown table."""
    lines = [
        f"| {' | '.join(COLUMNS.values())} |",
        "|" + "---|" * len(COLUMNS),
    ]
    for row in rows:
        cells = [f"{row[name]:.4g}" for name in COLUMNS]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def parse_arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Measure the cost of depth.")
    parser.add_argument(
        "--depths", type=int, nargs="+", default=[100, 300, 1000]
    )
    parser.add_argument(
        "--written-out",
        action="store_true",
        help="use separate layers instead of a `LayerStack`",
    )
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--data-dir")
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    """Measures each depth in its own process and prints the table."""
    arguments = parse_arguments()
    settings = (
        arguments.written_out,
        arguments.steps,
        arguments.batch_size,
        arguments.data_dir,
    )
    if arguments.one:
        print(json.dumps(measure(arguments.one, *settings)))
        return
    rows = []
    for depth in arguments.depths:
        command = [sys.executable, *sys.argv, "--one", str(depth)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(format_table(rows[-1:]).splitlines()[-1], flush=True)
    table = (
        f"{'Written out' if arguments.written_out else 'LayerStack'}, "
        f"{arguments.steps} steps of {arguments.batch_size} images; "
        f"{describe_run()}\n\n{format_table(rows)}\n"
    )
    print(table)
    if arguments.output:
        arguments.output.write_text(table)


if __name__ == "__main__":
    main()
