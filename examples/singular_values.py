"""# What training does to singular values

A convolution of norm one may still shrink most of its inputs, and the gradient
with them. This script trains the network "Small" with four convolutions, and
shows the singular values of its second convolution before and after training,
as figure 2 of [Li et al., 2019](https://arxiv.org/abs/1911.00937) does for
"Large". Then it measures how well the whole network keeps the norm of
gradients from layer to layer, with MaxMin and with ReLU, and with convex
potential blocks (CPL) instead of convolutions.

It prints its tables and writes `singular_values.json` and
`singular_values.png`.

    python examples/singular_values.py            # 8x8 digits, a few minutes
    python examples/singular_values.py --smoke    # seconds
    python examples/singular_values.py --dataset mnist --data-dir FOLDER

`FOLDER` contains `mnist.npz`, with the arrays `x_train`, `y_train`, `x_test`
and `y_test`.
"""

import argparse
import json
import pathlib

import keras
import numpy as np

import keras_lip as kl

"""
## The networks

Each row of the table is one network: its convolutions and its activation. The
settings of the methods are the paper's: 10 power iterations a step for OSSN,
and 50 rounds of clipping after every 100 steps for SVCM. Convex potential
blocks are no linear maps, so they have no histogram.
"""

NETWORKS = {
    "ossn": ("ossn", "max_min", {"training_iterations": 10}),
    "rko": ("rko", "max_min", None),
    "svcm": ("svcm", "max_min", None),
    "bcop": ("bcop", "max_min", {"parametrization": "bjorck"}),
    "ossn, ReLU": ("ossn", "relu", {"training_iterations": 10}),
    "bcop, ReLU": ("bcop", "relu", {"parametrization": "bjorck"}),
    "cpl": ("convex_potential", "max_min", None),
}
SHOWN = ("ossn", "rko", "svcm", "bcop")
RADIUS = 0.5


def make_network(name, shape, width):
    """Returns the network of one row."""
    convolution, activation, arguments = NETWORKS[name]
    return kl.applications.SmallConvNet(
        shape,
        convolution=convolution,
        activation=activation,
        parametrization="bjorck",
        width=width,
        units=4 * width,
        convolution_arguments=arguments,
    )


def train(model, x, y, margin, epochs):
    """Trains with a hinge loss, and clips the convolutions of SVCM."""
    model.compile(
        keras.optimizers.Adam(1e-3), kl.losses.MulticlassHinge(margin=margin)
    )
    callbacks = []
    if any(isinstance(each, kl.layers.SVCMConv2D) for each in model.layers):
        callbacks.append(
            kl.callbacks.SVCMClipping(every_n_steps=100, rounds=50)
        )
    model.fit(
        x, y, batch_size=64, epochs=epochs, callbacks=callbacks, verbose=0
    )


"""
## Singular values of a convolution

Applied to every image with a single one, a convolution gives the rows of its
matrix.
"""


def decompose_convolution(model):
    """Returns the singular values of the second convolution at inference.

    They are none if it is a convex potential block.
    """
    layers = [
        layer
        for layer in model.layers
        if hasattr(layer, "filters") and len(layer.output.shape) == 4
    ]
    if not layers:
        return np.zeros(0)
    stock, layer = kl.models.materialize(model), layers[1]
    part = keras.Model(
        stock.get_layer(layer.name).input, stock.get_layer(layer.name).output
    )
    shape = tuple(part.input_shape[1:])
    size = int(np.prod(shape))
    points = np.concatenate([np.zeros((1, size)), np.eye(size)])
    rows = part.predict(
        points.reshape(-1, *shape).astype("float32"), verbose=0
    ).reshape(size + 1, -1)
    matrix = rows[1:].astype("float64") - rows[0]
    return np.linalg.svd(matrix, compute_uv=False)


"""
## Data

The digits are magnified to 16 x 16 pixels, because "Small" divides each side by
four.
"""


def load_data(name, data_dir=None):
    """Returns `(x_train, y_train), (x_test, y_test)`."""
    if name == "digits":
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        images = (images / 16).astype("float32").reshape(-1, 8, 8, 1)
        images = images.repeat(2, axis=1).repeat(2, axis=2)
        x_train, x_test, y_train, y_test = train_test_split(
            images, labels, test_size=0.25, stratify=labels, random_state=0
        )
        return (x_train, y_train), (x_test, y_test)
    file = pathlib.Path(data_dir or ".") / f"{name}.npz"
    if not file.exists():
        raise SystemExit(
            f"There is no file {file}. Pass --data-dir, a folder with "
            f"{name}.npz: the arrays x_train, y_train, x_test and y_test."
        )
    with np.load(file) as arrays:
        return tuple(
            (
                arrays[f"x_{part}"].reshape(-1, 28, 28, 1).astype("float32")
                / 255,
                arrays[f"y_{part}"].astype("int64"),
            )
            for part in ("train", "test")
        )


"""
## Isometry

If all singular values of the Jacobian of a network are one, it keeps the norm
of gradients: dynamical isometry (Pennington et al., 2017). MaxMin permutes, and
keeps it. ReLU loses what it sets to zero. The norms between the layers show
where it is lost. The output has the norm one.
"""

PLACES = ("input", "convolution 1", "convolution 2", "dense layer", "output")


def trace_gradient(model, x):
    """Returns mean norms of a gradient at the input and after activations."""
    norms = kl.bounds.gradient_norms(model, x)
    activations = (kl.layers.MaxMin, keras.layers.ReLU)
    names = [
        layer.name for layer in model.layers if isinstance(layer, activations)
    ]
    found = [next(iter(norms.values())), *(norms[name] for name in names)]
    return [float(each.mean()) for each in found]


def measure(name, data, arguments):
    """Trains one network and returns a row of the table."""
    (x, y), (x_test, y_test) = data
    keras.utils.set_random_seed(arguments.seed)
    model = make_network(name, x.shape[1:], arguments.width)
    before = decompose_convolution(model)
    train(model, x, y, arguments.margin, arguments.epochs)
    after = decompose_convolution(model)
    # The steps of convex potential blocks are estimated in training.
    model = kl.models.fix_steps(model)
    report = kl.certificates.certify(model, x_test, y_test, [RADIUS])
    jacobian = kl.bounds.jacobian_singular_values(model, x_test[:32])
    row = {
        "name": name,
        "accuracy": report.accuracy,
        "certified": report.certified_accuracy(RADIUS),
        "bound": report.lipschitz_bound,
        "before": before.tolist(),
        "after": after.tolist(),
        "jacobian": [jacobian.least, jacobian.largest],
        "near_one": jacobian.share_near_one(),
        "gradients": trace_gradient(model, x_test[:32]),
    }
    print(format_row(row))
    return row


def format_row(row):
    """Returns the main numbers of a row as a line."""
    after, convolution = np.array(row["after"]), ""
    if len(after):
        convolution = (
            f"second convolution {after.min():.3f} to {after.max():.3f} with "
            f"{np.mean(after > 0.95):.0%} above 0.95, "
        )
    gradients = ", ".join(f"{norm:.3f}" for norm in row["gradients"])
    return (
        f"{row['name']:<11} clean {row['accuracy']:.1%}, certified at {RADIUS} "
        f"{row['certified']:.1%}, bound {row['bound']:.4f}, {convolution}"
        f"{row['near_one']:.0%} of the Jacobian near one, gradients {gradients}"
    )


def draw(results, path):
    """Draws the histograms before and after training, and the gradients.

    Args:
        results: Content of `singular_values.json`.
        path: Path of the picture.
    """
    import matplotlib.figure

    figure = matplotlib.figure.Figure((14, 6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(9, 5))
    panels = left.subplots(2, 2)
    rows = {row["name"]: row for row in results["rows"]}
    # The value one lies in the middle of a bin.
    bins = np.arange(-0.0125, 1.05, 0.025)
    for axes, name in zip(panels.flat, SHOWN, strict=True):
        row = rows[name]
        axes.hist(row["before"], bins, alpha=0.6, label="before training")
        axes.hist(row["after"], bins, alpha=0.6, label="after training")
        axes.set_title(name)
        axes.set(xlabel="singular value", ylabel="number")
    panels[0, 0].legend()
    draw_gradients(right.subplots(), results["rows"])
    figure.savefig(path, dpi=120)


def draw_gradients(axes, rows):
    """Draws the norms of gradients between the layers of all networks."""
    for row in rows:
        style = "o--" if "ReLU" in row["name"] else "o-"
        axes.plot(PLACES, [*row["gradients"], 1.0], style, label=row["name"])
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("mean norm of the gradient of the output")
    axes.tick_params("x", rotation=20)
    axes.grid(alpha=0.3)
    axes.legend()


def round_floats(value, digits=4):
    """Rounds the floats in lists and dicts to some significant digits."""
    if isinstance(value, dict):
        return {key: round_floats(each, digits) for key, each in value.items()}
    if isinstance(value, list):
        return [round_floats(each, digits) for each in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def parse_arguments(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Compare singular values.")
    parser.add_argument(
        "--dataset", choices=("digits", "mnist"), default="digits"
    )
    parser.add_argument("--data-dir", help="folder with mnist.npz")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--margin", type=float, default=2.12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=pathlib.Path, default="singular_values"
    )
    parser.add_argument("--smoke", action="store_true", help="some seconds")
    arguments = parser.parse_args(argv)
    if arguments.smoke:
        arguments.epochs, arguments.width = 1, 2
    return arguments


def main(argv=None):
    """Trains, measures, prints and writes."""
    arguments = parse_arguments(argv)
    data = load_data(arguments.dataset, arguments.data_dir)
    if arguments.smoke:
        data = tuple(tuple(part[:16] for part in each) for each in data)
    results = {
        "dataset": arguments.dataset,
        "seed": arguments.seed,
        "epochs": arguments.epochs,
        "width": arguments.width,
        "margin": arguments.margin,
        "radius": RADIUS,
        "rows": [measure(name, data, arguments) for name in NETWORKS],
    }
    output = pathlib.Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(round_floats(results))
    (output / "singular_values.json").write_text(text + "\n")
    draw(results, output / "singular_values.png")
    print(f"Written to {output}/: singular_values.json, singular_values.png")


if __name__ == "__main__":
    main()
