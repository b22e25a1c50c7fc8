"""# What matters in a convex potential network

Tables 1, C.1 and C.2 of
[Meunier et al., 2022](https://arxiv.org/abs/2110.12690), at a size that trains
on two cores: the depth, the number of dense blocks, their width, the channels,
the step, and the length of the training. The paper trains on CIFAR-10; here
they are digits of 16 x 16 pixels, so only the directions can be compared.

It prints its tables and writes `cpl_trends.json` and `cpl_trends.png`.

    python examples/cpl_trends.py            # some minutes
    python examples/cpl_trends.py --smoke    # seconds
"""

import argparse
import json
import pathlib

import keras

import keras_lip as kl

RADIUS = 0.5
BATCH_SIZE = 128

"""
## The networks

One number of the baseline changes at a time. The paper's baseline has 30
convolutions of 30 channels and 5 dense blocks of 2048 units.
"""

BASELINE = {"depth": 6, "channels": 8, "linear_depth": 2, "hidden_units": 64}
TABLE_1 = {
    "depth": (1, 6, 14),
    "linear_depth": (1, 2, 4),
    "hidden_units": (32, 64, 128),
    "channels": (4, 8, 16),
}
STEPS = (1.0, 0.1, 0.01)
LENGTHS = (0.5, 1, 2, 4)


def make_network(**changes):
    """Returns a convex potential network with the truncation of the paper."""
    return kl.applications.ConvexPotentialNet(
        input_shape=(16, 16, 1),
        head="truncation",
        hidden_filters=5,
        **{**BASELINE, **changes},
    )


class Triangle(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that rises to a peak in the first 2/5, and falls to zero.

    Args:
        peak: Float. The largest learning rate.
        steps: Integer. Number of steps.
    """

    def __init__(self, peak, steps):
        super().__init__()
        self.peak, self.steps = peak, steps

    def __call__(self, step):
        share = (keras.ops.cast(step, "float32") + 1) / self.steps
        rate = keras.ops.minimum(share / 0.4, (1 - share) / 0.6)
        return self.peak * keras.ops.clip(rate, 0.0, 1.0)

    def get_config(self):
        return {"peak": self.peak, "steps": self.steps}


def train(model, data, epochs, margin=0.7):
    """Trains a network with the hinge loss."""
    x, y = data
    steps = epochs * -(-len(x) // BATCH_SIZE)
    model.compile(
        keras.optimizers.Adam(Triangle(1e-2, steps)),
        kl.losses.MulticlassHinge(margin=margin),
    )
    model.fit(x, y, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)


"""
## The measurements

The steps of training are estimated, and may be a little too long. They are
replaced by proven ones before the network is certified. A fixed step stays, and
the bound says what it costs: the paper could not certify such networks, because
it did not know their Lipschitz constant.
"""


def measure(data, epochs, arguments, **changes):
    """Trains, certifies and attacks one network."""
    train_data, (x_test, y_test) = data
    keras.utils.set_random_seed(arguments.seed)
    model = make_network(**changes)
    train(model, train_data, epochs)
    model = kl.models.fix_steps(model)
    report = kl.certificates.certify(model, x_test, y_test, [RADIUS])
    attacked = kl.certificates.attacked_accuracy(
        kl.models.materialize(model),
        x_test,
        y_test,
        [RADIUS],
        steps=10,
        attacks=["pgd"],
    )
    row = {
        "clean": report.accuracy,
        "pgd": attacked[RADIUS],
        "certified": report.certified_accuracy(RADIUS),
        "bound": report.lipschitz_bound,
        "estimate": kl.bounds.lipschitz_estimate(model, x_test[:32]),
    }
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in row.items())
    print(f"{changes or 'baseline'}, {epochs} epochs: {numbers}")
    return row


def vary_sizes(data, baseline, arguments):
    """Table 1: one number of the baseline at a time."""
    rows = []
    for name, values in TABLE_1.items():
        for value in values[: arguments.columns]:
            row = baseline
            if value != BASELINE[name]:
                changes = {name: value}
                row = measure(data, arguments.epochs, arguments, **changes)
            rows.append({"name": name, "value": value, **row})
    return rows


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
    """Draws the tables as curves.

    Args:
        results: Content of `cpl_trends.json`.
        path: Path of the picture.
    """
    import matplotlib.figure

    figure = matplotlib.figure.Figure((11, 6), layout="constrained")
    panels = figure.subplots(2, 4)
    names = list(dict.fromkeys(row["name"] for row in results["sizes"]))
    for axes, name in zip(panels.flat, names, strict=False):
        rows = [row for row in results["sizes"] if row["name"] == name]
        _draw_rows(axes, [row["value"] for row in rows], rows)
        axes.set_title(name.replace("_", " "))
    _draw_rows(
        panels[1, 0], results["steps"]["values"], results["steps"]["rows"]
    )
    panels[1, 0].set_title("fixed step")
    epochs, rows = results["lengths"]["epochs"], results["lengths"]["rows"]
    _draw_rows(panels[1, 1], epochs, rows)
    panels[1, 1].set_title("epochs")
    panels[0, 0].legend(fontsize=8)
    panels[0, 0].set_ylabel("accuracy (%)")
    panels[1, 0].set_ylabel("accuracy (%)")
    for axes in panels[1, 2:]:
        axes.set_axis_off()
    figure.savefig(path, dpi=120)


def _draw_rows(axes, values, rows):
    for name in ("clean", "pgd", "certified"):
        axes.plot(values, [100 * row[name] for row in rows], "o-", label=name)
    axes.set_xscale("log")
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()
    axes.grid(alpha=0.3)


def round_floats(value, digits=5):
    """Rounds the floats in lists and dicts to some significant digits."""
    if isinstance(value, dict):
        return {key: round_floats(each, digits) for key, each in value.items()}
    if isinstance(value, list):
        return [round_floats(each, digits) for each in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def parse_arguments(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Vary one number at a time.")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, default="cpl_trends")
    parser.add_argument("--smoke", action="store_true", help="some seconds")
    arguments = parser.parse_args(argv)
    # The number of values of each table.
    arguments.columns = 4
    if arguments.smoke:
        arguments.epochs, arguments.columns = 1, 1
    return arguments


def main(argv=None):
    """Trains, measures, prints and writes."""
    arguments = parse_arguments(argv)
    data = load_data()
    if arguments.smoke:
        data = tuple(tuple(part[:16] for part in each) for each in data)
    steps = STEPS[: arguments.columns]
    lengths = [
        max(1, int(share * arguments.epochs))
        for share in LENGTHS[: arguments.columns]
    ]
    baseline = measure(data, arguments.epochs, arguments)
    results = {
        "seed": arguments.seed,
        "epochs": arguments.epochs,
        "radius": RADIUS,
        "baseline": BASELINE,
        "sizes": vary_sizes(data, baseline, arguments),
        "steps": {
            "values": list(steps),
            "rows": [
                measure(data, arguments.epochs, arguments, step=step)
                for step in steps
            ],
        },
        "lengths": {
            "epochs": lengths,
            "rows": [
                baseline
                if epochs == arguments.epochs
                else measure(data, epochs, arguments)
                for epochs in lengths
            ],
        },
    }
    output = pathlib.Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(round_floats(results), indent=1)
    (output / "cpl_trends.json").write_text(text + "\n")
    draw(results, output / "cpl_trends.png")
    print(f"Written to {output}/: cpl_trends.json, cpl_trends.png")


if __name__ == "__main__":
    main()
