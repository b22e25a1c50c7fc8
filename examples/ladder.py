"""# From plain networks to GroupSort, one step at a time

What does each constraint of a robust network buy? This script trains the same
small classifier

- with and without constraints, for many epochs: the Lipschitz constant of the
  plain one grows as long as it is trained,
- on more and more samples: how far training and test accuracy are apart,
- with one more constraint in each row: spectral normalization, Parseval's step,
  orthogonal layers with ReLU, orthogonal layers with GroupSort,
- for perturbations of every pixel (the l-infinity norm), with its certificate.

It prints its tables and writes `ladder.json` and `ladder.png`.

    python examples/ladder.py                  # 8x8 digits, some minutes
    python examples/ladder.py --smoke          # seconds
    python examples/ladder.py --dataset mnist --data-dir FOLDER

`FOLDER` contains `mnist.npz`, with the arrays `x_train`, `y_train`, `x_test`
and `y_test`.
"""

import argparse
import json
import pathlib

import keras
import numpy as np

import keras_lip as kl

RADII = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
LINF_RADII = (0.01, 0.02, 0.04, 0.06, 0.08, 0.1)

"""
## The rungs of the ladder

All networks have the same widths. A plain layer starts orthogonal as well, so
that only the constraint during training makes the difference.
"""

LABELS = {
    "plain": "plain, ReLU",
    "spectral": "spectral normalization, ReLU",
    "parseval": "Parseval's step, ReLU",
    "orthogonal": "orthogonal, ReLU",
    "group_sort": "orthogonal, GroupSort",
}


def make_network(rung, input_dim, units, depth=2, classes=10):
    """Returns a classifier with one more constraint on each rung."""
    make_layer = {
        "plain": make_plain,
        "spectral": kl.layers.LipschitzDense,
        "parseval": make_plain,
        "orthogonal": make_orthogonal,
        "group_sort": make_orthogonal,
        "linf": kl.layers.LinfDense,
    }[rung]
    layers = [keras.Input((input_dim,))]
    for _ in range(depth):
        layers.append(make_layer(units))
        if rung in ("group_sort", "linf"):
            layers.append(kl.layers.GroupSort(2))
        else:
            layers.append(keras.layers.ReLU())
    layers.append(make_layer(classes))
    return kl.models.LipschitzSequential(layers, name=rung)


def make_plain(units):
    """Returns a dense layer without a constraint."""
    return keras.layers.Dense(units, kernel_initializer="orthogonal")


def make_orthogonal(units):
    """Returns a dense layer with an orthogonal kernel."""
    return kl.layers.OrthogonalDense(units, parametrization="bjorck")


def train(model, x, y, temperature, epochs, batch_size=64, learning_rate=3e-3):
    """Trains a model with the crossentropy at a temperature.

    The constraint of `"parseval"` is a step after each update, with the common
    value of `beta`.
    """
    if not model.compiled:
        model.compile(
            keras.optimizers.Adam(learning_rate),
            kl.losses.TemperatureSparseCategoricalCrossentropy(temperature),
            metrics=["accuracy"],
        )
    callbacks = []
    if model.name == "parseval":
        callbacks.append(kl.callbacks.ParsevalStep(beta=0.0003))
    model.fit(
        x,
        y,
        batch_size=min(batch_size, len(x)),
        epochs=epochs,
        callbacks=callbacks,
        verbose=0,
    )


"""
## Data

Pixels are in [0, 1], and images are rows of pixels.
"""


def load_data(name, data_dir=None):
    """Returns `(x_train, y_train), (x_test, y_test)`."""
    if name == "digits":
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
    file = pathlib.Path(data_dir or ".") / f"{name}.npz"
    if not file.exists():
        raise SystemExit(
            f"There is no file {file}. Pass --data-dir, a folder with "
            f"{name}.npz: the arrays x_train, y_train, x_test and y_test."
        )
    with np.load(file) as arrays:
        return tuple(
            (
                arrays[f"x_{part}"].reshape(-1, 784).astype("float32") / 255,
                arrays[f"y_{part}"].astype("int64"),
            )
            for part in ("train", "test")
        )


"""
## The plain network diverges

If the loss of a plain network goes to zero, its outputs grow without limit, and
its Lipschitz constant with them (Béthune et al., 2022). The constrained network
cannot grow: its loss stays above zero. We measure a proven bound from above and
an estimate from below.
"""


def watch_training(data, epochs, arguments):
    """Trains two networks, and measures them after each number of epochs."""
    (x, y), _ = data
    found = {"epochs": list(epochs)}
    for rung in ("plain", "group_sort"):
        keras.utils.set_random_seed(arguments.seed)
        model = make_network(rung, x.shape[1], arguments.units)
        temperature = 1.0 if rung == "plain" else arguments.temperature
        curves = {"loss": [], "bound": [], "estimate": [], "confidence": []}
        done = 0
        for epoch in epochs:
            train(model, x, y, temperature, epoch - done)
            done = epoch
            loss = model.evaluate(x, y, batch_size=len(x), verbose=0)[0]
            logits = temperature * model.predict(x, verbose=0)
            confidence = np.exp(logits - logsumexp(logits)).max(axis=1).mean()
            curves["loss"].append(float(loss))
            curves["confidence"].append(float(confidence))
            curves["bound"].append(kl.bounds.lipschitz_bound(model))
            curves["estimate"].append(
                kl.bounds.lipschitz_estimate(model, x[:32])
            )
            print(
                f"{LABELS[rung]:<30} epoch {epoch:>5}: loss {loss:.2e}, "
                f"Lipschitz constant {curves['estimate'][-1]:.3g} to "
                f"{curves['bound'][-1]:.3g}"
            )
        found[rung] = curves
    return found


def logsumexp(logits):
    """Returns `log(sum(exp(logits)))` of each row, as a column."""
    top = logits.max(axis=1, keepdims=True)
    return top + np.log(np.exp(logits - top).sum(axis=1, keepdims=True))


"""
## More samples

The gap between training and test accuracy closes with more samples, and at a
low temperature with fewer of them: the temperature stands for the Lipschitz
constant that the network may use.
"""


def vary_samples(data, sizes, steps, arguments):
    """Trains networks on the first samples, for the same number of steps."""
    (x, y), (x_test, y_test) = data
    order = np.random.default_rng(arguments.seed).permutation(len(x))
    settings = {
        "plain": ("plain", 1.0),
        "high": ("group_sort", 16.0 * arguments.temperature),
        "low": ("group_sort", arguments.temperature / 4),
    }
    found = {
        "sizes": list(sizes),
        "temperatures": {name: pair[1] for name, pair in settings.items()},
    }
    for name, (rung, temperature) in settings.items():
        curves = {"train": [], "test": []}
        for size in sizes:
            chosen = order[:size]
            keras.utils.set_random_seed(arguments.seed)
            model = make_network(rung, x.shape[1], arguments.units)
            epochs = max(1, steps // -(-size // 64))
            train(model, x[chosen], y[chosen], temperature, epochs)
            for part, inputs, labels in (
                ("train", x[chosen], y[chosen]),
                ("test", x_test, y_test),
            ):
                curves[part].append(measure_accuracy(model, inputs, labels))
            print(
                f"{name:<6} {size:>6} samples: training "
                f"{curves['train'][-1]:.1%}, test {curves['test'][-1]:.1%}"
            )
        found[name] = curves
    return found


def measure_accuracy(model, x, y):
    """Returns the share of correct predictions."""
    predicted = model.predict(x, verbose=0).argmax(axis=1)
    return float(np.mean(predicted == y))


"""
## The ladder

A certificate needs a small bound and a large margin. Spectral normalization has
the bound, but its other singular values shrink. Orthogonal layers keep them,
but ReLU cuts off half of the gradient. GroupSort keeps it all.
"""


def climb(data, epochs, arguments):
    """Trains, certifies and attacks a network for each rung."""
    (x, y), (x_test, y_test) = data
    rows = []
    for rung in LABELS:
        keras.utils.set_random_seed(arguments.seed)
        model = make_network(rung, x.shape[1], arguments.units)
        temperature = 1.0 if rung == "plain" else arguments.temperature
        train(model, x, y, temperature, epochs)
        report = kl.certificates.certify(model, x_test, y_test, RADII)
        stock = kl.models.materialize(model)
        values = decompose(stock)
        norms = kl.bounds.gradient_norms(model, x_test[:64])
        jacobian = kl.bounds.jacobian_singular_values(model, x_test[:64])
        rows.append(
            {
                "rung": rung,
                "accuracy": report.accuracy,
                "bound": report.lipschitz_bound,
                "certified": [report.certified_accuracy(r) for r in RADII],
                "attacked": attack(stock, x_test, y_test, RADII, arguments),
                "kernels": [float(values.min()), float(values.max())],
                "jacobian": [jacobian.least, jacobian.largest],
                "near_one": jacobian.share_near_one(),
                "gradient": float(next(iter(norms.values())).mean()),
            }
        )
        print(format_rung(rows[-1]))
    return rows


def decompose(model):
    """Returns the singular values of the kernels of all dense layers."""
    return np.concatenate(
        [
            np.linalg.svd(
                keras.ops.convert_to_numpy(layer.kernel), compute_uv=False
            )
            for layer in model.layers
            if hasattr(layer, "kernel")
        ]
    )


def attack(model, x, y, radii, arguments, norm="l2"):
    """Returns the accuracies under attack of the first samples."""
    count = arguments.attacked_samples
    found = kl.certificates.attacked_accuracy(
        model, x[:count], y[:count], radii, norm=norm
    )
    return [found[radius] for radius in radii]


def format_rung(row):
    """Returns the main numbers of a rung as a line."""
    middle = RADII.index(0.3)
    return (
        f"{LABELS[row['rung']]:<30} clean {row['accuracy']:.1%}, at 0.3 "
        f"certified {row['certified'][middle]:.1%} and attacked "
        f"{row['attacked'][middle]:.1%}, bound {row['bound']:.3g}, kernels "
        f"{row['kernels'][0]:.3f} to {row['kernels'][1]:.3f}, "
        f"{row['near_one']:.0%} of the Jacobian near one"
    )


"""
## Every pixel at once

The l-infinity norm bounds the change of every pixel. Kernels whose rows have an
l1 norm of at most one, and GroupSort, are 1-Lipschitz in this norm, and the
certified radius is `margin / 2`, or more if the last kernel allows it.
"""


def certify_pixels(data, epochs, arguments):
    """Trains an l-infinity network, and certifies and attacks it."""
    (x, y), (x_test, y_test) = data
    found = {"radii": list(LINF_RADII)}
    for rung, temperature in (("plain", 1.0), ("linf", 64.0)):
        keras.utils.set_random_seed(arguments.seed)
        model = make_network(rung, x.shape[1], arguments.units)
        train(model, x, y, temperature, epochs)
        report = kl.certificates.certify(
            model, x_test, y_test, LINF_RADII, norm="linf"
        )
        stock = kl.models.materialize(model)
        found[rung] = {
            "accuracy": report.accuracy,
            "bound": report.lipschitz_bound,
            "certified": [report.certified_accuracy(r) for r in LINF_RADII],
            "attacked": attack(
                stock, x_test, y_test, LINF_RADII, arguments, "linf"
            ),
        }
        print(
            f"{rung:<6} l-infinity: clean {report.accuracy:.1%}, certified "
            f"{percent(found[rung]['certified'])}, attacked "
            f"{percent(found[rung]['attacked'])}"
        )
    return found


def percent(values):
    """Returns accuracies as one word each."""
    return " ".join(f"{100 * value:.1f}" for value in values)


def draw(results, path):
    """Draws the four parts of the results.

    Args:
        results: Content of `ladder.json`.
        path: Path of the picture.
    """
    import matplotlib.figure

    figure = matplotlib.figure.Figure((11, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    _draw_divergence(panels[0, 0], results["divergence"])
    _draw_samples(panels[0, 1], results["samples"])
    _draw_ladder(panels[1, 0], results)
    _draw_linf(panels[1, 1], results["linf"])
    for axes in panels.flat:
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def _draw_divergence(axes, part):
    for color, rung in (("C3", "plain"), ("C0", "group_sort")):
        label = LABELS[rung]
        axes.plot(part["epochs"], part[rung]["bound"], color, label=label)
        axes.plot(part["epochs"], part[rung]["estimate"], color + "--")
    axes.set(xscale="log", yscale="log", xlabel="epochs")
    axes.set_title("Lipschitz constant: proven, and estimated (dashed)")


def _draw_samples(axes, part):
    names = {"plain": "plain", "high": "GroupSort", "low": "GroupSort"}
    for color, name in zip(("C3", "C1", "C0"), names, strict=True):
        temperature = part["temperatures"][name]
        label = f"{names[name]}, temperature {temperature:g}"
        for curve, style in (("test", color), ("train", color + "--")):
            values = [100 * value for value in part[name][curve]]
            axes.plot(
                part["sizes"],
                values,
                style,
                label=label if curve == "test" else None,
            )
    axes.set(xscale="log", xlabel="samples", ylabel="accuracy (%)")
    axes.set_title("test accuracy, and training accuracy (dashed)")


def _draw_ladder(axes, results):
    radii = [0, *results["radii"]]
    for number, row in enumerate(results["ladder"]):
        for curve, style in (("certified", "-"), ("attacked", "--")):
            values = [row["accuracy"], *row[curve]]
            axes.plot(
                radii,
                [100 * value for value in values],
                style,
                color=f"C{number}",
                label=LABELS[row["rung"]] if style == "-" else None,
            )
    axes.set(xlabel="radius (l2)", ylabel="accuracy (%)", ylim=(0, 100))
    axes.set_title("certified, and attacked (dashed)")


def _draw_linf(axes, part):
    radii = [0, *part["radii"]]
    for color, name, label in (
        ("C3", "plain", "plain, ReLU"),
        ("C0", "linf", "l-infinity, GroupSort"),
    ):
        for curve, style in (("certified", "-"), ("attacked", "--")):
            values = [part[name]["accuracy"], *part[name][curve]]
            axes.plot(
                radii,
                [100 * value for value in values],
                color + style,
                label=label if style == "-" else None,
            )
    axes.set(xlabel="radius (l-infinity)", ylabel="accuracy (%)", ylim=(0, 100))
    axes.set_title("every pixel: certified, and attacked (dashed)")


def round_floats(value, digits=6):
    """Rounds the floats in lists and dicts to some significant digits."""
    if isinstance(value, dict):
        return {key: round_floats(each) for key, each in value.items()}
    if isinstance(value, list):
        return [round_floats(each) for each in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def parse_arguments(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Climb the ladder.")
    parser.add_argument(
        "--dataset", choices=("digits", "mnist"), default="digits"
    )
    parser.add_argument("--data-dir", help="folder with mnist.npz")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--temperature", type=float, default=8.0)
    parser.add_argument("--attacked-samples", type=int, default=450)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, default="ladder")
    parser.add_argument("--smoke", action="store_true", help="some seconds")
    arguments = parser.parse_args(argv)
    if arguments.smoke:
        arguments.epochs, arguments.units = 2, 16
        arguments.attacked_samples = 10
    return arguments


def main(argv=None):
    """Trains, measures, prints and writes."""
    arguments = parse_arguments(argv)
    data = load_data(arguments.dataset, arguments.data_dir)
    longest = 8 * arguments.epochs
    epochs = sorted({longest // 2**power for power in range(10)} - {0})
    sizes, steps = (50, 100, 200, 400, 800, len(data[0][0])), 1000
    if arguments.smoke:
        epochs, sizes, steps = [1, 8], (50,), 20
        numbers = (1500, arguments.attacked_samples)
        data = tuple(
            tuple(array[:number] for array in part)
            for part, number in zip(data, numbers, strict=True)
        )
    results = {
        "dataset": arguments.dataset,
        "seed": arguments.seed,
        "epochs": arguments.epochs,
        "units": arguments.units,
        "temperature": arguments.temperature,
        "radii": list(RADII),
        "divergence": watch_training(data, epochs, arguments),
        "samples": vary_samples(data, sizes, steps, arguments),
        "ladder": climb(data, arguments.epochs, arguments),
        "linf": certify_pixels(data, arguments.epochs, arguments),
    }
    output = pathlib.Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(round_floats(results), indent=1)
    (output / "ladder.json").write_text(text + "\n")
    draw(results, output / "ladder.png")
    print(f"Written to {output}/: ladder.json, ladder.png")


if __name__ == "__main__":
    main()
