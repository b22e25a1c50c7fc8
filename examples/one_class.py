"""# Detect what is not normal, with a certified AUROC

One-class detection learns from normal samples alone what does not belong to
them. The signed distance to the boundary of the normal samples is the ideal
score, and it is 1-Lipschitz. Béthune et al. (2023) therefore train a
1-Lipschitz network to tell normal samples from samples that the network itself
proposes at the boundary. An attack of size r moves no score by more than r
times the proven Lipschitz bound, so that the AUROC under all attacks has a
proven lower bound. This script

- takes each digit in turn as the normal class,
- measures the AUROC, certifies it, and attacks it,
- and compares with the distance to the nearest normal sample, a score that is
  1-Lipschitz as well.

It writes `one_class.json` and `one_class.png`.

    python examples/one_class.py                      # 8x8 digits, 4 minutes
    python examples/one_class.py --dataset mnist --normal 0 1 --data-dir FOLDER
    python examples/one_class.py --smoke              # seconds
"""

import argparse
import json
import math
import pathlib

import keras
import numpy as np

import keras_lip as kl

RADII = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)

"""
## The data

Pixels are in [0, 1] and stay as they are. Training sees the normal class of the
training part alone. The test part has all classes.
"""


def load_data(name, folder=None):
    """Returns `(x_train, y_train), (x_test, y_test)` with pixels in [0, 1].

    Args:
        name: `"digits"` or `"mnist"`.
        folder: Folder with `mnist.npz`, or `None` for TensorFlow Datasets.
    """
    if name == "digits":
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        x_train, x_test, y_train, y_test = train_test_split(
            (images / 16).astype("float32").reshape(-1, 8, 8),
            labels,
            test_size=0.25,
            stratify=labels,
            random_state=0,
        )
        return (x_train, y_train), (x_test, y_test)
    if folder is not None:
        with np.load(folder / "mnist.npz") as arrays:
            parts = [
                (arrays[f"x_{part}"], arrays[f"y_{part}"])
                for part in ("train", "test")
            ]
    else:
        try:
            import tensorflow_datasets as tfds
        except ImportError as error:
            raise SystemExit(
                "The data set 'mnist' comes by TensorFlow Datasets: pip "
                'install "keras-lip[data]". Or pass --data-dir, a folder with '
                "mnist.npz."
            ) from error
        parts = tfds.as_numpy(
            tfds.load(
                name, split=["train", "test"], batch_size=-1, as_supervised=True
            )
        )
    return tuple(
        (x.reshape(-1, 28, 28).astype("float32") / 255, y.astype("int64"))
        for x, y in parts
    )


"""
## The network
"""


def make_network(shape, units, depth):
    """Returns a network of which every layer's bound is proven."""
    network = [keras.Input(shape), keras.layers.Flatten()]
    for _ in range(depth):
        network += [kl.layers.OrthogonalDense(units), kl.layers.MaxMin()]
    network.append(kl.layers.UnitNormDense(1))
    return kl.models.LipschitzSequential(network, name="one_class")


def read_gradients(model, x):
    """Returns the gradients of the scores, of the shape of the inputs."""
    return kl.explanations.saliency_maps(model, x).gradients[0, :, 0]


"""
## Training

The loss `HKR` needs negative samples, and there are none. The network proposes
them: from normal samples with noise of any strength, steps of Newton's method
go to the level `-margin` of its score, just outside of what it takes for
normal. Each step has a random length, so that proposals stop on the way as
well. They are made anew in every epoch, with the network as it is then. (The
paper starts from uniform noise. On these digits, our starts gave a higher
AUROC.)
"""


def propose_negatives(model, rng, normal, number, margin, steps):
    """Returns samples near the level `-margin` of a network's score.

    Args:
        model: The network.
        rng: Generator of NumPy.
        normal: Normal samples.
        number: Integer. Number of proposals.
        margin: Float.
        steps: Integer. Number of steps.
    """
    flat = (-1, *[1] * (normal.ndim - 1))
    x = normal[rng.integers(0, len(normal), number)]
    strengths = rng.uniform(0, 1, number).reshape(flat)
    x = np.clip(x + strengths * rng.normal(size=x.shape), 0, 1)
    x = x.astype("float32")
    for _ in range(steps):
        scores = model.predict(x, batch_size=1000, verbose=0).reshape(flat)
        slopes = read_gradients(model, x)
        squares = np.sum(slopes**2, axis=tuple(range(1, x.ndim)), keepdims=True)
        lengths = rng.uniform(0, 1, scores.shape)
        moves = (-margin - scores) * slopes / np.maximum(squares, 1e-6)
        x = np.clip(x + lengths * moves, 0, 1).astype("float32")
    return x


def train(normal, arguments):
    """Trains a network on normal samples; returns it and proposals."""
    keras.utils.set_random_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    model = make_network(normal.shape[1:], arguments.units, arguments.depth)
    schedule = keras.optimizers.schedules.CosineDecay(
        arguments.learning_rate, arguments.epochs * arguments.steps
    )
    loss = kl.losses.HKR(arguments.alpha, arguments.margin)
    model.compile(keras.optimizers.Adam(schedule), loss)
    number = arguments.steps * arguments.batch_size
    labels = np.repeat([1.0, 0.0], number)
    for _ in range(arguments.epochs):
        negatives = propose_negatives(
            *(model, rng, normal, number),
            *(arguments.margin, arguments.proposal_steps),
        )
        chosen = normal[rng.integers(0, len(normal), number)]
        # Each batch has as many normal samples as proposals.
        order = np.arange(2 * number).reshape(2, arguments.steps, -1)
        order = order.transpose(1, 0, 2).ravel()
        model.fit(
            np.concatenate([chosen, negatives])[order],
            labels[order],
            batch_size=2 * arguments.batch_size,
            shuffle=False,
            verbose=0,
        )
    return model, negatives


"""
## The certified AUROC

The AUROC is the share of pairs of a normal and an anomalous sample in which the
normal one has the larger score. If an attack changes both by at most r, a score
changes by at most `L r`. A pair is proven in order if the normal score minus `L
r` is above the other one plus `L r`. `certify` returns the scores in float64,
with bounds on their rounding errors, and the proven bound `L`.
"""


def measure_auroc(normal, anomalous):
    """Returns the share of pairs in order. Half of the ties count."""
    anomalous = np.sort(anomalous)
    below = np.searchsorted(anomalous, normal, side="left")
    not_above = np.searchsorted(anomalous, normal, side="right")
    return np.mean(below + not_above) / 2 / len(anomalous)


def certify_auroc(scores, errors, is_normal, bound, radius):
    """Returns a lower bound on the AUROC under all attacks of a size.

    It is rounded down to four digits, as the results are printed.
    """
    found = kl.certificates.certified_auroc(
        scores, is_normal, radius, lipschitz_bound=bound, errors=errors
    )
    return math.floor(1e4 * found) / 1e4


"""
## An attack, to compare with

Projected gradient descent lowers the scores of normal samples and raises the
others. It stays within the radius and the range of pixels.
"""


def attack(model, x, is_normal, radius, steps=10):
    """Returns the most harmful scores that projected gradients find."""
    axes = tuple(range(1, x.ndim))
    flat = (-1, *[1] * len(axes))
    signs = np.where(is_normal, -1.0, 1.0)
    worst = signs * model.predict(x, batch_size=1000, verbose=0)[:, 0]
    moved = x
    for _ in range(steps):
        slopes = signs.reshape(flat) * read_gradients(model, moved)
        norms = np.sqrt(np.sum(slopes**2, axis=axes, keepdims=True))
        move = moved - x + radius / 2 * slopes / np.maximum(norms, 1e-9)
        norms = np.sqrt(np.sum(move**2, axis=axes, keepdims=True))
        move *= np.minimum(1, radius / np.maximum(norms, 1e-9))
        moved = np.clip(x + move, 0, 1).astype("float32")
        scores = model.predict(moved, batch_size=1000, verbose=0)[:, 0]
        worst = np.maximum(worst, signs * scores)
    return signs * worst


def neighbour_scores(normal, x):
    """Returns the negated distances to the nearest normal sample."""
    normal = normal.reshape(len(normal), -1).astype("float64")
    x = x.reshape(len(x), -1).astype("float64")
    return -np.array(
        [np.linalg.norm(normal - each, axis=1).min() for each in x]
    )


def test(digit, data, arguments):
    """Trains a network on a normal class, and tests it."""
    (x_train, y_train), (x, y) = data
    normal = x_train[y_train == digit]
    model, negatives = train(normal, arguments)
    x, is_normal = x[: arguments.tests], y[: arguments.tests] == digit
    report = kl.certificates.certify(model, x, is_normal.astype("int64"))
    scores, bound = report.logits[:, 0], report.lipschitz_bound
    nearest = neighbour_scores(normal, x)
    certified, attacked, neighbour = {}, {}, {}
    for radius in RADII:
        certified[radius] = certify_auroc(
            scores, report.margin_error, is_normal, bound, radius
        )
        found = attack(model, x, is_normal, radius) if radius else scores
        attacked[radius] = measure_auroc(found[is_normal], found[~is_normal])
        # float64 is off by far less than this.
        errors = np.full(len(x), 1e-9)
        neighbour[radius] = certify_auroc(
            nearest, errors, is_normal, 1.0, radius
        )
    row = {
        "normal": digit,
        "lipschitz_bound": math.ceil(1e5 * bound) / 1e5,
        "certified": list(certified.values()),
        "attacked": list(attacked.values()),
        "neighbour": list(neighbour.values()),
    }
    shown = {
        "normal": normal[:8],
        "negatives": negatives[:8],
        "normal_scores": np.sort(scores[is_normal])[:200],
        "anomalous_scores": np.sort(scores[~is_normal])[
            :: max(1, len(x) // 400)
        ],
    }
    return row, shown


"""
## Results
"""


def average(rows, name):
    """Returns the mean over the normal classes, for each radius."""
    return np.mean([row[name] for row in rows], axis=0)


def format_table(rows):
    """Returns the AUROC of each class, and the means, as lines of text."""
    titles = ("AUROC", "nearest", "certified 0.3", "attacked 0.3")
    lines = [f"{'normal':<8}" + "".join(f"{title:>15}" for title in titles)]
    index = RADII.index(0.3)
    for row in rows:
        values = row["attacked"][0], row["neighbour"][0]
        values += row["certified"][index], row["attacked"][index]
        cells = "".join(f"{value:>15.1%}" for value in values)
        lines.append(f"{row['normal']:<8}{cells}")
    titles = ("certified", "attacked", "nearest, certified")
    lines += ["", f"{'radius':<8}" + "".join(f"{each:>20}" for each in titles)]
    means = [
        average(rows, name) for name in ("certified", "attacked", "neighbour")
    ]
    for radius, *values in zip(RADII, *means, strict=True):
        cells = "".join(f"{value:>20.1%}" for value in values)
        lines.append(f"{radius:<8g}{cells}")
    return "\n".join(lines)


def draw(results, path):
    """Draws the results, as they are in the JSON file, to a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    left, middle, right = figure.subfigures(1, 3)
    axes = left.subplots()
    for name, style, label in (
        ("attacked", "o--", "attacked"),
        ("certified", "o-", "certified (proven)"),
        ("neighbour", "s:", "nearest sample, certified"),
    ):
        axes.plot(
            results["radii"], average(results["rows"], name), style, label=label
        )
    axes.set_xlabel("radius (l2)")
    axes.set_ylabel("AUROC, mean over normal classes")
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.legend()

    axes, shown = middle.subplots(), results["shown"]
    for name, label in (
        ("normal_scores", "normal"),
        ("anomalous_scores", "other digits"),
    ):
        axes.hist(shown[name], bins=30, density=True, alpha=0.6, label=label)
    axes.set_xlabel("score")
    axes.set_title(f"normal class {results['rows'][0]['normal']}")
    axes.legend()

    grid = right.subplots(4, 4)
    right.suptitle("normal samples, and proposals")
    for row, image in zip(
        grid.ravel(), shown["normal"] + shown["negatives"], strict=True
    ):
        row.imshow(np.array(image), cmap="gray", vmin=0, vmax=1)
        row.axis("off")
    figure.savefig(path, dpi=120)


def round_numbers(value):
    """Rounds all numbers in nested lists and dicts, for JSON."""
    if isinstance(value, dict):
        return {key: round_numbers(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [round_numbers(each) for each in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 5)
    return value


def parse_arguments(argv):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="One-class detection.")
    parser.add_argument(
        "--dataset", choices=("digits", "mnist"), default="digits"
    )
    parser.add_argument(
        "--data-dir", type=pathlib.Path, help="folder with mnist.npz"
    )
    parser.add_argument(
        "--normal", type=int, nargs="+", default=list(range(10))
    )
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10, help="of an epoch")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--proposal-steps", type=int, default=4)
    parser.add_argument("--alpha", type=float, default=10.0)
    parser.add_argument("--margin", type=float, default=0.3)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("one_class")
    )
    parser.add_argument("--smoke", action="store_true", help="a few epochs")
    arguments = parser.parse_args(argv)
    if arguments.smoke:
        arguments.normal, arguments.epochs, arguments.units = [0], 3, 32
        arguments.depth, arguments.tests = 2, 100
    return arguments


def main(argv=None):
    """Trains and tests all classes, prints the AUROC, and writes it."""
    arguments = parse_arguments(argv)
    data = load_data(arguments.dataset, arguments.data_dir)
    rows, shown = [], []
    for digit in arguments.normal:
        row, samples = test(digit, data, arguments)
        rows.append(row)
        shown.append(samples)
    print(format_table(rows))
    results = round_numbers({"radii": RADII, "rows": rows, "shown": shown[0]})
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "one_class.json"
    path.write_text(json.dumps(results) + "\n", encoding="utf-8")
    draw(results, path.with_suffix(".png"))
    print(f"Written to {arguments.output}/: {path.name}, {path.stem}.png")
    return results


if __name__ == "__main__":
    main()
