"""# A recurrent network with a proven bound

`LipschitzRNNCell` has orthogonal kernels and sorts pairs of units, so a state
neither forgets nor amplifies what it holds. The bound of the whole sequence is
proven, and grows with its length. This script compares the bound with the
stretch that is found, trains the cell on the adding problem and on digits that
it reads row by row, certifies the digits, and writes `recurrent.json` and
`recurrent.png`.

    KERAS_BACKEND=tensorflow python examples/recurrent.py   # minutes
"""

import argparse
import json
import pathlib

import keras
import numpy as np

import keras_lip as kl

RADII = (0.05, 0.1, 0.2, 0.3, 0.5)

"""
## How the bound grows

A difference of the input at step `t` enters the state with at most its own
norm, and all further steps keep it. The differences of all steps may add up: in
the last state to `|d_1| + ... + |d_T|`, at most `sqrt(T)` times the norm of the
whole difference. All states together stretch by up to about `0.64 T`.

With as many inputs as units, every Jacobian of the last state is `sqrt(T)`
times a matrix with orthonormal rows, so the bound is attained everywhere. With
fewer inputs, differences of several steps rarely point in the same direction.
"""


def make_states(length, input_dim, units, return_sequences=False):
    """Returns a model of the states of a sequence."""
    cell = kl.layers.LipschitzRNNCell(units)
    return keras.Sequential(
        [
            keras.Input((length, input_dim)),
            keras.layers.RNN(cell, return_sequences=return_sequences),
        ]
    )


def measure_growth(lengths, units, rng, steps):
    """Sets the proven bounds of untrained cells beside what is found."""
    rows = []
    for length in lengths:
        row = {"length": length}
        for name, input_dim, every in (
            ("last", units, False),
            ("last_narrow", 2, False),
            ("all", units, True),
        ):
            model = make_states(length, input_dim, units, every)
            x = rng.normal(size=(4, length, input_dim)).astype("float32")
            row[f"bound_{name}"] = kl.bounds.lipschitz_bound(model)
            row[f"found_{name}"] = kl.bounds.lipschitz_estimate(model, x, steps)
        rows.append(row)
        print("  ".join(f"{name} {row[name]:.4g}" for name in row), flush=True)
    return rows


"""
## The adding problem

Each step of a sequence has a number in [0, 1] and a marker. Two steps are
marked, one in each half, and the sum of their numbers is to be returned. The
best constant answer, one, has a mean squared error of 1 / 6. The last layer is
an ordinary one: its norm multiplies the bound.
"""


def make_sums(rng, number, length):
    """Returns sequences of shape `(number, length, 2)`, and their sums."""
    values = rng.random((number, length))
    markers = np.zeros((number, length))
    rows = np.arange(number)
    markers[rows, rng.integers(0, length // 2, number)] = 1
    markers[rows, rng.integers(length // 2, length, number)] = 1
    x = np.stack([values, markers], axis=-1)
    return x.astype("float32"), np.sum(values * markers, axis=1, keepdims=True)


class NewSums(keras.utils.PyDataset):
    """Batches of new sequences, a given number in an epoch."""

    def __init__(self, rng, steps, batch_size, length):
        super().__init__()
        self.rng, self.steps = rng, steps
        self.batch_size, self.length = batch_size, length

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        return make_sums(self.rng, self.batch_size, self.length)


def add(arguments, rng):
    """Trains the adding problem."""
    cell = kl.layers.LipschitzRNNCell(arguments.units)
    model = kl.models.LipschitzSequential(
        [
            keras.Input((arguments.length, 2)),
            keras.layers.RNN(cell),
            keras.layers.Dense(1),
        ]
    )
    steps = arguments.adding_epochs * arguments.adding_batches
    schedule = keras.optimizers.schedules.CosineDecay(
        1e-5, steps, warmup_target=3e-3, warmup_steps=max(1, steps // 20)
    )
    model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), "mse")
    data = NewSums(rng, arguments.adding_batches, 128, arguments.length)
    history = model.fit(data, epochs=arguments.adding_epochs, verbose=0)
    x, y = make_sums(rng, 1000, arguments.length)
    row = {
        "length": arguments.length,
        "losses": history.history["loss"],
        "error": model.evaluate(x, y, verbose=0),
        "error_of_constant": float(np.mean((y - 1) ** 2)),
        "bound": kl.bounds.lipschitz_bound(model),
        "found": kl.bounds.lipschitz_estimate(
            model, x[:50], arguments.search_steps
        ),
    }
    print(
        f"adding problem of {row['length']} steps: mean squared error "
        f"{row['error']:.4f} (constant {row['error_of_constant']:.4f}), bound "
        f"{row['bound']:.3f}, found {row['found']:.3f}",
        flush=True,
    )
    return row


"""
## Digits, row by row

A digit is a sequence of eight rows. The certificate divides margins by the
bound of the sequence, `sqrt(8)`, and holds for perturbations of the whole
picture.
"""


def load_digits():
    """Returns `(x_train, y_train), (x_test, y_test)`."""
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


def read_digits(arguments):
    """Trains a classifier of rows, certifies and attacks it."""
    data, (x_test, y_test) = load_digits()
    cell = kl.layers.LipschitzRNNCell(arguments.units)
    model = kl.models.LipschitzSequential(
        [
            keras.Input((8, 8)),
            keras.layers.RNN(cell),
            kl.layers.UnitNormDense(10),
        ]
    )
    steps = arguments.digit_epochs * -(-len(data[0]) // 64)
    schedule = keras.optimizers.schedules.CosineDecay(
        1e-4, steps, warmup_target=1e-2, warmup_steps=max(1, steps // 20)
    )
    loss = kl.losses.TemperatureSparseCategoricalCrossentropy(4.0)
    model.compile(keras.optimizers.Adam(schedule), loss)
    model.fit(*data, batch_size=64, epochs=arguments.digit_epochs, verbose=0)
    radii = arguments.radii
    report = kl.certificates.certify(model, x_test, y_test, radii)
    some = slice(0, arguments.attacked_samples)
    attacked = kl.certificates.attacked_accuracy(
        model, x_test[some], y_test[some], radii
    )
    part = kl.certificates.certify(model, x_test[some], y_test[some], radii)
    trunk = keras.Sequential(model.layers[:-1])
    trunk.build((None, 8, 8))
    row = {
        "accuracy": report.accuracy,
        "certified": [report.certified_accuracy(r) for r in radii],
        "attacked": [attacked[r] for r in radii],
        "certified_of_attacked": [part.certified_accuracy(r) for r in radii],
        "attacked_samples": len(x_test[some]),
        "bound": kl.bounds.lipschitz_bound(trunk),
        "found": kl.bounds.lipschitz_estimate(
            trunk, x_test[:20], arguments.search_steps
        ),
    }
    print(
        f"digits by rows: accuracy {row['accuracy']:.1%}, bound of the last "
        f"state {row['bound']:.4f}, found {row['found']:.4f}"
    )
    for index, radius in enumerate(radii):
        print(
            f"  radius {radius:<5} certified {row['certified'][index]:.1%}, of "
            f"the attacked {row['certified_of_attacked'][index]:.1%}  "
            f"attacked {row['attacked'][index]:.1%}"
        )
    return row


"""
## The picture
"""


def draw(results, path):
    """Draws the results."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    lengths = [row["length"] for row in results["growth"]]
    for color, (name, label) in enumerate(
        (
            ("all", "all states"),
            ("last", "last state"),
            ("last_narrow", "last state, 2 inputs"),
        )
    ):
        for kind, style in (("bound", "-"), ("found", "o")):
            left.loglog(
                lengths,
                [row[f"{kind}_{name}"] for row in results["growth"]],
                style,
                color=f"C{color}",
                label=f"{label}, {'proven' if kind == 'bound' else 'found'}",
            )
    left.set_xlabel("length T")
    left.set_ylabel("Lipschitz constant (l2)")
    left.legend(fontsize="small")
    row = results["adding"]
    middle.semilogy(range(1, len(row["losses"]) + 1), row["losses"])
    middle.axhline(row["error_of_constant"], color="gray", linestyle="--")
    middle.set_xlabel("epoch")
    middle.set_ylabel("mean squared error")
    middle.set_title(
        f"adding problem, {row['length']} steps\n"
        f"bound {row['bound']:.2f}, found {row['found']:.2f}",
        fontsize="medium",
    )
    row = results["digits"]
    radii = [0.0, *results["radii"]]
    number = f"{row['attacked_samples']} digits"
    for name, style, label in (
        ("certified", "-", "certified"),
        ("certified_of_attacked", ":", f"certified, {number}"),
        ("attacked", "--", f"attacked, {number}"),
    ):
        # Only the first curve is of all digits, as is the accuracy.
        start = [row["accuracy"]] if name == "certified" else []
        shown = radii if start else radii[1:]
        right.plot(shown, [*start, *row[name]], style, label=label)
    right.set_ylim(0, 1)
    right.set_xlabel("radius (l2)")
    right.set_ylabel("accuracy")
    right.set_title("digits, row by row", fontsize="medium")
    right.legend(fontsize="small")
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=130)


def round_floats(value, digits=6):
    """Rounds all floats of nested dicts and lists."""
    if isinstance(value, dict):
        return {key: round_floats(each, digits) for key, each in value.items()}
    if isinstance(value, list):
        return [round_floats(each, digits) for each in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def parse_arguments(argv):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Train recurrent networks.")
    parser.add_argument("--units", type=int, default=32)
    parser.add_argument("--length", type=int, default=20, help="of sums")
    parser.add_argument("--adding-epochs", type=int, default=20)
    parser.add_argument("--adding-batches", type=int, default=50)
    parser.add_argument("--digit-epochs", type=int, default=30)
    parser.add_argument("--attacked-samples", type=int, default=100)
    parser.add_argument("--search-steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("recurrent")
    )
    parser.add_argument("--smoke", action="store_true", help="in seconds")
    arguments = parser.parse_args(argv)
    arguments.radii = RADII[:1] if arguments.smoke else RADII
    if arguments.smoke:
        arguments.units, arguments.length = 8, 4
        arguments.adding_epochs, arguments.adding_batches = 2, 2
        arguments.digit_epochs, arguments.attacked_samples = 1, 4
        arguments.search_steps = 2
    return arguments


def main(argv=None):
    """Measures, trains, certifies and writes."""
    arguments = parse_arguments(argv)
    keras.utils.set_random_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    lengths = (1, 3) if arguments.smoke else (1, 2, 4, 8, 16, 32)
    results = {
        "units": arguments.units,
        "seed": arguments.seed,
        "radii": list(arguments.radii),
        "growth": measure_growth(
            lengths, min(16, arguments.units), rng, arguments.search_steps
        ),
        "adding": add(arguments, rng),
        "digits": read_digits(arguments),
    }
    results = round_floats(results)
    arguments.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, separators=(",", ":"))
    (arguments.output / "recurrent.json").write_text(text + "\n")
    draw(results, arguments.output / "recurrent.png")
    print(f"Written to {arguments.output}/: recurrent.json, recurrent.png")


if __name__ == "__main__":
    main()
