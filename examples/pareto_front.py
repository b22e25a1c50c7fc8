"""# Accuracy against robustness

A 1-Lipschitz network cannot be robust for free: the loss decides how much
accuracy is given up for margins. This script trains one small network for every
temperature of the crossentropy and every alpha of the HKR loss, and draws the
accuracy against the certified accuracy and against the mean certifiable
robustness (MCR), and the front of the networks that no other one beats in both.
It writes `pareto_front.json` and `pareto_front.png`.

    python examples/pareto_front.py                   # 8x8 digits, minutes
    python examples/pareto_front.py --dataset mnist   # by TensorFlow Datasets
"""

import argparse
import json
import pathlib

import keras
import numpy as np

import keras_lip as kl

TEMPERATURES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0)
ALPHAS = (0.5, 1.0, 2.0, 5.0, 20.0, 100.0, 1000.0)
SYMBOLS = {"temperature": "τ", "alpha": "α"}

"""
## The data

Images are vectors of pixels in [0, 1]. A quarter of the digits is held out;
MNIST has a test part of its own.
"""


def load_data(name, data_dir):
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
    if data_dir is not None:
        with np.load(data_dir / f"{name}.npz") as arrays:
            parts = [
                (arrays[f"x_{part}"], arrays[f"y_{part}"])
                for part in ("train", "test")
            ]
    else:
        try:
            import tensorflow_datasets as tfds
        except ImportError as error:
            raise SystemExit(
                f"The data set {name!r} comes by TensorFlow Datasets: "
                'pip install "keras-lip[data]". Or pass --data-dir, a folder '
                f"with {name}.npz."
            ) from error
        loaded = tfds.load(
            name, split=["train", "test"], batch_size=-1, as_supervised=True
        )
        parts = [tfds.as_numpy(part) for part in loaded]
    return tuple(
        (
            np.asarray(images, "float32").reshape(len(images), -1) / 255,
            np.asarray(labels, "int64"),
        )
        for images, labels in parts
    )


"""
## One network for each loss

All else is equal: the layers, the first weights and the order of the batches.
The temperature multiplies the logits of the crossentropy: the higher it is, the
more the loss cares for errors and the less for margins. The HKR loss adds
`alpha` times a hinge to the negated gap between the classes, so a large alpha
favours accuracy as well.
"""


def make_network(inputs, units, depth):
    """Returns a network of which every layer's bound is proven."""
    layers = [keras.Input((inputs,))]
    for _ in range(depth):
        layers += [kl.layers.OrthogonalDense(units), kl.layers.MaxMin()]
    layers.append(kl.layers.UnitNormDense(10))
    return kl.models.LipschitzSequential(layers)


def make_loss(name, value, margin):
    """Returns the loss with a temperature, or with an alpha."""
    if name == "temperature":
        return kl.losses.TemperatureSparseCategoricalCrossentropy(value)
    return kl.losses.MulticlassHKR(alpha=value, margin=margin)


def mean_certifiable_robustness(report):
    """Returns the mean certified radius, with a negative sign for errors.

    `keras_lip.metrics.MeanCertifiableRobustness` is the same number during a
    training.
    """
    correct = report.prediction == report.label
    return float(np.mean(np.where(correct, report.radius, -report.radius)))


def measure(arguments, data, held_out, name, value):
    """Trains a network with a loss, and certifies it."""
    keras.utils.set_random_seed(arguments.seed)
    model = make_network(data[0].shape[1], arguments.units, arguments.depth)
    steps = arguments.epochs * -(-len(data[0]) // arguments.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(
        1e-4,
        steps,
        warmup_target=arguments.learning_rate,
        warmup_steps=max(1, steps // 20),
    )
    model.compile(
        keras.optimizers.Adam(schedule),
        make_loss(name, value, arguments.margin),
    )
    model.fit(
        *data,
        batch_size=arguments.batch_size,
        epochs=arguments.epochs,
        verbose=0,
    )
    report = kl.certificates.certify(model, *held_out, arguments.radii)
    correct = report.prediction == report.label
    return {
        name: value,
        "accuracy": report.accuracy,
        "certified": [report.certified_accuracy(r) for r in arguments.radii],
        # Wrong answers count with a radius of zero.
        "mean_radius": float(np.mean(np.where(correct, report.radius, 0.0))),
        "mcr": mean_certifiable_robustness(report),
        "lipschitz_bound": report.lipschitz_bound,
    }


"""
## The front

A network is on the front if none is better in one of the two and at least as
good in the other.
"""


def list_points(row):
    """Returns the accuracy beside each measure of the robustness."""
    return [(row["accuracy"], each) for each in (*row["certified"], row["mcr"])]


def find_front(points):
    """Returns the points that no other one beats, by falling first entry."""
    front = []
    for point in sorted(set(points), reverse=True):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front


def draw(results, path):
    """Draws the results."""
    from matplotlib.figure import Figure

    titles = [
        *(f"certified accuracy at {each:g} (l2)" for each in results["radii"]),
        "mean certifiable robustness (l2)",
    ]
    fronts = results["fronts"]
    figure = Figure(figsize=(5 * len(fronts), 4.5), layout="constrained")
    panels = figure.subplots(1, len(fronts), squeeze=False)[0]
    for index, (axes, front) in enumerate(zip(panels, fronts, strict=True)):
        for name, symbol in SYMBOLS.items():
            rows = [row for row in results["networks"] if name in row]
            points = [list_points(row)[index] for row in rows]
            axes.plot(
                *zip(*points, strict=True),
                marker="o",
                label=f"{name} {symbol}",
            )
            for row, point in zip(rows, points, strict=True):
                axes.annotate(
                    f" {symbol}={row[name]:g}", point, fontsize="x-small"
                )
        axes.plot(
            *zip(*front, strict=True),
            color="gray",
            linewidth=6,
            alpha=0.25,
            zorder=0,
            label="front",
        )
        axes.set_xlabel("accuracy")
        axes.set_ylabel(titles[index])
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path, format="png", dpi=130)


def round_floats(value, digits=6):
    """Rounds all floats of nested dicts and lists."""
    if isinstance(value, dict):
        return {key: round_floats(each, digits) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [round_floats(each, digits) for each in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def parse_arguments(argv):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Sweep two losses.")
    parser.add_argument(
        "--dataset", choices=("digits", "mnist"), default="digits"
    )
    parser.add_argument("--data-dir", type=pathlib.Path, help="with NAME.npz")
    parser.add_argument(
        "--temperatures", type=float, nargs="*", default=TEMPERATURES
    )
    parser.add_argument("--alphas", type=float, nargs="*", default=ALPHAS)
    parser.add_argument("--margin", type=float, default=0.5, help="of HKR")
    parser.add_argument("--radii", type=float, nargs="+")
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("pareto_front")
    )
    parser.add_argument("--smoke", action="store_true", help="in seconds")
    arguments = parser.parse_args(argv)
    digits = arguments.dataset == "digits"
    arguments.epochs = arguments.epochs or (40 if digits else 5)
    arguments.radii = arguments.radii or ([0.3, 0.6] if digits else [0.5, 1.58])
    if arguments.smoke:
        arguments.temperatures, arguments.alphas = (1.0, 64.0), (1.0,)
        arguments.units, arguments.depth, arguments.epochs = 16, 1, 10
    return arguments


def main(argv=None):
    """Trains, certifies and writes."""
    arguments = parse_arguments(argv)
    data, held_out = load_data(arguments.dataset, arguments.data_dir)
    points = [("temperature", value) for value in arguments.temperatures]
    points += [("alpha", value) for value in arguments.alphas]
    networks = []
    for name, value in points:
        row = measure(arguments, data, held_out, name, value)
        networks.append(row)
        certified = "  ".join(
            f"certified at {radius:g} {share:.1%}"
            for radius, share in zip(
                arguments.radii, row["certified"], strict=True
            )
        )
        print(
            f"{name:<11} {value:<6g} accuracy {row['accuracy']:.1%}  "
            f"{certified}  mean radius {row['mean_radius']:.3f}  "
            f"MCR {row['mcr']:.3f}",
            flush=True,
        )
    results = {
        "dataset": arguments.dataset,
        "units": arguments.units,
        "depth": arguments.depth,
        "epochs": arguments.epochs,
        "seed": arguments.seed,
        "radii": arguments.radii,
        "networks": networks,
        # One for each radius, and the last one of the MCR.
        "fronts": [
            find_front(points)
            for points in zip(*map(list_points, networks), strict=True)
        ],
    }
    results = round_floats(results)
    arguments.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, separators=(",", ":"))
    (arguments.output / "pareto_front.json").write_text(text + "\n")
    draw(results, arguments.output / "pareto_front.png")
    print(
        f"Written to {arguments.output}/: pareto_front.json, pareto_front.png"
    )


if __name__ == "__main__":
    main()
