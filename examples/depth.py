"""# Train a thousand layers

Figure 2 of [Meunier et al., 2022](https://arxiv.org/abs/2110.12690): networks
of 100, 300, 500, 700 and 1000 convex potential layers train without any
normalization. Here they learn digits, magnified to 16 x 16 pixels and
downsampled to 4 x 4 pixels of 16 channels, so that all five train on two cores.

It prints the test accuracy of each epoch and writes `depth.json` and
`depth.png`.

    python examples/depth.py            # some minutes
    python examples/depth.py --smoke    # seconds
"""

import argparse
import json
import pathlib

import keras

import keras_lip as kl

DEPTHS = (100, 300, 500, 700, 1000)
# The ratio to the 16 channels is close to the 5 to 30 of the paper.
HIDDEN_FILTERS = 3

"""
## The network

All layers have the same shape, so they run as one `LayerStack`: its loop is
compiled once, and a thousand layers compile as fast as ten.

With biases of zero, half of the hidden units are active, and a thousand
untrained layers map all images to nearly the same point. Biases of -0.5 keep
the layers close to the identity.
"""


def make_network(depth, bias=-0.5):
    """Returns a network with the given number of convex potential layers."""
    layer = kl.layers.ConvexPotentialConv2D(
        HIDDEN_FILTERS, 3, bias_initializer=keras.initializers.Constant(bias)
    )
    return kl.models.LipschitzSequential(
        [
            keras.Input((16, 16, 1)),
            kl.layers.InvertibleDownsampling2D(4),
            kl.layers.LayerStack([layer], depth),
            keras.layers.Flatten(),
            kl.layers.UnitNormDense(10),
        ]
    )


def train(depth, bias, data, arguments):
    """Trains a network and certifies it with proven steps."""
    (x, y), test = data
    keras.utils.set_random_seed(arguments.seed)
    model = make_network(depth, bias)
    steps = arguments.epochs * -(-len(x) // arguments.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(
        1e-4, steps, warmup_target=5e-3, warmup_steps=steps // 10
    )
    model.compile(
        keras.optimizers.Adam(rate),
        kl.losses.TemperatureSparseCategoricalCrossentropy(8.0),
        metrics=["accuracy"],
    )
    history = model.fit(
        x,
        y,
        batch_size=arguments.batch_size,
        epochs=arguments.epochs,
        # One batch, because every batch estimates the steps of all layers.
        validation_data=test,
        validation_batch_size=len(test[0]),
        verbose=0,
    )
    audit = kl.certificates.audit(kl.models.fix_steps(model), steps=None)
    accuracy = history.history["val_accuracy"]
    print(
        f"{depth} layers, biases {bias:g}: {accuracy[-1]:.1%}, "
        f"bound {audit.lipschitz_bound:.6f}",
        flush=True,
    )
    return {
        "depth": depth,
        "bias": bias,
        "accuracy": accuracy,
        "bound": audit.lipschitz_bound,
    }


def load_data():
    """Returns `(x_train, y_train), (x_test, y_test)` of magnified digits."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32").reshape(-1, 8, 8, 1)
    images = images.repeat(2, axis=1).repeat(2, axis=2)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=0.25, stratify=labels, random_state=0
    )
    return (x_train, y_train), (x_test, y_test)


def draw(results, path):
    """Draws the accuracy by epoch of each network.

    Args:
        results: Content of `depth.json`.
        path: Path of the picture.
    """
    import matplotlib.figure

    figure = matplotlib.figure.Figure((6.4, 4), layout="constrained")
    axes = figure.subplots()
    for curve in results["curves"]:
        percent = [100 * value for value in curve["accuracy"]]
        is_ours = curve["bias"] != 0
        axes.plot(
            range(1, len(percent) + 1),
            percent,
            "-" if is_ours else "k:",
            label=f"{curve['depth']} layers"
            + (", biases of zero" if not is_ours else ""),
        )
    axes.set(xlabel="epoch", ylabel="accuracy on held-out digits (%)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def parse_arguments(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Train very deep networks.")
    parser.add_argument("--depths", type=int, nargs="+", default=[*DEPTHS])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, default="depth")
    parser.add_argument("--smoke", action="store_true", help="some seconds")
    arguments = parser.parse_args(argv)
    if arguments.smoke:
        arguments.depths, arguments.epochs = [3, 5], 1
    return arguments


def main(argv=None):
    """Trains, prints and writes."""
    arguments = parse_arguments(argv)
    data = load_data()
    if arguments.smoke:
        data = tuple(tuple(part[:64] for part in each) for each in data)
    curves = [
        train(depth, bias, data, arguments)
        for depth, bias in [
            *((depth, -0.5) for depth in arguments.depths),
            (max(arguments.depths), 0.0),
        ]
    ]
    results = {
        "backend": keras.backend.backend(),
        "seed": arguments.seed,
        "epochs": arguments.epochs,
        "curves": curves,
    }
    output = pathlib.Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    (output / "depth.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(results, output / "depth.png")
    print(f"Written to {output}/: depth.json, depth.png")


if __name__ == "__main__":
    main()
