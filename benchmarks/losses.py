"""Measures how much certified losses add to a training step.

    KERAS_BACKEND=tensorflow python benchmarks/losses.py

times the forward pass, backward pass and update of one network with each loss,
in turns in one process, and writes a Markdown table. The network is a LiResNet,
whose Lipschitz constant is not one: losses with `constants` in the table
estimate the constants of the margins in every step, and train the network
through them. The first row is Keras's crossentropy, the floor of the others.
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
from keras_lip.losses.certified_loss import CertifiedLoss

PLAIN = "CategoricalCrossentropy (Keras)"
SHAPE = (32, 32, 3)


def make_losses():
    """Returns losses of the logits of several classes, the plain one first."""
    losses = kl.losses
    return {
        PLAIN: keras.losses.CategoricalCrossentropy(from_logits=True),
        **{
            type(loss).__name__: loss
            for loss in (
                losses.TemperatureCategoricalCrossentropy(),
                losses.OffsetCrossentropy(),
                losses.MulticlassHKR(),
                losses.MulticlassSoftHKR(),
                losses.CertificateRegularization(),
                losses.EMMA(),
                losses.GloRo(),
                losses.LogitAnnealing(),
            )
        },
    }


def make_network(depth, width):
    """Returns a LiResNet with the given number of blocks and channels."""
    return kl.applications.LiResNet(
        SHAPE, depth=depth, width=width, dense_depth=2, units=4 * width
    )


def main():
    """Runs the benchmark and writes its table."""
    parser = argparse.ArgumentParser(description="Measure certified losses.")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=pathlib.Path)
    parsed = parser.parse_args()
    title = (
        f"Training step: LiResNet of depth {parsed.depth} and width "
        f"{parsed.width}, {SHAPE[0]} x {SHAPE[1]} images, batch "
        f"{parsed.batch_size}, medians of {parsed.rounds} rounds; "
        f"{describe_run()}"
    )
    if keep_memory():
        title += ", freed memory kept"
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(parsed.batch_size, *SHAPE)).astype("float32")
    labels = keras.utils.to_categorical(np.arange(parsed.batch_size) % 10)
    losses = make_losses()
    steps = {}
    for name, loss in losses.items():
        network = make_network(parsed.depth, parsed.width)
        steps[name] = step_model(network, images, labels, loss)
    times = measure(steps, parsed.rounds)
    rows = ["| loss | constants | ms | ratio |", "|---|---|---|---|"]
    for name, milliseconds in times.items():
        constants = "yes" if isinstance(losses[name], CertifiedLoss) else ""
        ratio = milliseconds / times[PLAIN]
        rows.append(
            f"| {name} | {constants} | {milliseconds:.1f} | {ratio:.2f} |"
        )
    text = "\n".join([title, "", *rows])
    print(text)
    if parsed.output is not None:
        parsed.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
