r"""# Adversarial spheres: right on all samples, and wrong somewhere

Gilmer et al. (2018) separate two concentric spheres in many dimensions. Their
quadratic network errs on none of millions of samples, and still there are
points on the spheres that it gets wrong. For this network everything can be
computed: where it errs, and how often. This script

- trains the quadratic network, and computes its exact error,
- constrains its matrix to be orthogonal: then a single number is left to learn,
- constrains its last weight as well: then it may learn nothing, and be wrong
  on every sample,
- repeats this on ellipsoids, where an orthogonal matrix must fail,
- trains a 1-Lipschitz network of `MaxMin` on both,
- and attacks all of them inside of their certified radii.

It writes `adversarial_spheres.json` and `adversarial_spheres.png`.

    python examples/adversarial_spheres.py          # 4 minutes
    python examples/adversarial_spheres.py --smoke  # seconds

The size of the paper, for which a GPU helps:

    python examples/adversarial_spheres.py --dimension 500 --hidden 1000 \
        --samples 50000000
"""

import argparse
import json
import math
import pathlib

import keras
import numpy as np

import keras_lip as kl

RADIUS = 1.3  # of the outer sphere; that of the inner one is 1
MARGIN = (RADIUS - 1) / 2
RESOLUTION = 1e-12  # of exact errors
NETWORKS = ("quadratic", "orthogonal quadratic", "MaxMin")

"""
## The data

A sample is a uniform point on the unit sphere. Points of class 1 are multiplied
by 1.3. An ellipsoid stretches some axes by a factor of 2: a fifth of the ratio
of the radii would be enough to make a sphere a wrong boundary.
"""


def make_axes(surface, dimension):
    """Returns the half axes of the inner surface."""
    axes = np.ones(dimension)
    if surface == "ellipsoids":
        axes[: max(1, dimension // 20)] = 2.0
    return axes


def draw_samples(rng, number, axes):
    """Returns points of both surfaces, and their labels 0 and 1."""
    points = rng.standard_normal((number, len(axes)), dtype="float32")
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    labels = rng.integers(0, 2, number)
    scales = np.where(labels, RADIUS, 1.0).astype("float32")
    return points * scales[:, None] * axes.astype("float32"), labels


class NewSamples(keras.utils.PyDataset):
    """Batches that no epoch repeats."""

    def __init__(self, axes, batch_size, steps, seed, flip=False):
        super().__init__()
        self.axes, self.batch_size, self.steps = axes, batch_size, steps
        self.seed, self.epoch, self.flip = seed, 0, flip

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, self.epoch, index))
        points, labels = draw_samples(rng, self.batch_size, self.axes)
        labels = 1 - labels if self.flip else labels
        return points, labels.astype("float32")

    def on_epoch_end(self):
        self.epoch += 1


"""
## The quadratic network

It computes `w |W x|² + b`. In the basis of the right singular vectors of `W`
this is `-b (sum of alpha_i z_i² - 1)` with `alpha_i = -w s_i² / b`: the
boundary is an ellipsoid. It lies between the spheres, and the error is zero, if
and only if every `alpha_i` is in `[1 / 1.3², 1]`.
"""


def make_quadratic(dimension, hidden, first=None, last=None):
    """Returns the quadratic network.

    Args:
        dimension: Integer. Dimension of the input.
        hidden: Integer. Number of rows of `W`.
        first: Layer of `W`. Defaults to a dense layer.
        last: Layer of `w` and `b`. Defaults to a dense layer.
    """
    first = first or keras.layers.Dense(hidden, use_bias=False)
    last = last or keras.layers.Dense(
        1, kernel_initializer="ones", bias_initializer=constant(-1.0)
    )
    inputs = keras.Input((dimension,))
    squares = keras.ops.square(first(inputs))
    outputs = last(keras.ops.sum(squares, axis=-1, keepdims=True))
    return keras.Model(inputs, outputs, name="quadratic")


def constant(value):
    """Returns an initializer."""
    return keras.initializers.Constant(value)


def read_quadratic(model, axes):
    """Returns the singular values on the inner surface, vectors, w and b.

    The inner surface is the image of the unit sphere under the axes, so that
    `W` times the axes acts on the sphere.
    """
    first, last = (each for each in model.layers if hasattr(each, "kernel"))
    kernel, w, b = (
        keras.ops.convert_to_numpy(each).astype("float64")
        for each in (first.kernel, last.kernel, last.bias)
    )
    vectors, values, _ = np.linalg.svd(axes[:, None] * kernel)
    full = np.zeros(len(axes))
    full[: len(values)] = values
    return full, vectors, w.item(), b.item()


def positive_probability(weights):
    """Returns the probability that `sum of weights_i g_i²` is positive.

    The `g_i` are independent and standard normal. The formula of Imhof (1961)
    is `1/2 + 1/pi` times an integral over `u > 0`. With `u = exp(t)` the
    integrand vanishes at both ends, where the trapezoidal rule converges fast.
    The result is exact up to some 1e-12 (`RESOLUTION`).
    """
    weights = np.asarray(weights, "float64")
    if np.all(weights >= 0) or np.all(weights <= 0):
        return float(np.any(weights > 0))
    weights = weights / np.abs(weights).max()
    step, end, total = 0.005, 0.0, 0.0
    while np.log1p((weights * np.exp(end)) ** 2).sum() / 4 < 40:
        end += 1.0
    for t in np.array_split(np.arange(-40.0, end, step), 64):
        products = weights * np.exp(t)[:, None]
        angles = np.arctan(products).sum(axis=1) / 2
        sizes = np.exp(np.log1p(products**2).sum(axis=1) / 4)
        total += np.sum(np.sin(angles) / sizes)
    return float(np.clip(0.5 + total * step / np.pi, 0.0, 1.0))


def exact_errors(values, w, b):
    """Returns the errors of a quadratic network on both surfaces."""
    inner = positive_probability(w * values**2 + b)
    outer = positive_probability(-w * (RADIUS * values) ** 2 - b)
    return inner, outer


def examine(model, axes):
    """Returns what is known of a quadratic network."""
    values, vectors, w, b = read_quadratic(model, axes)
    alphas = -w * values**2 / b
    # The points of both surfaces that the network is most wrong about.
    worst = np.stack(
        [
            axes * vectors[:, np.argmax(alphas)],
            RADIUS * axes * vectors[:, np.argmin(alphas)],
        ]
    )
    inner, outer = model.predict(worst.astype("float32"), verbose=0)[:, 0]
    return {
        "alphas": np.sort(alphas),
        "in_range": np.mean((alphas >= RADIUS**-2) & (alphas <= 1)),
        "exact_error": np.mean(exact_errors(values, w, b)),
        "wrong_somewhere": bool(inner > 0 or outer < 0),
    }


"""
## Networks with a certificate

A square has no Lipschitz constant. But the quadratic network is positive where
`|W x| - r` is, with `r = sqrt(-b / w)`, and this function has one: the norm of
`W`. `GlobalL2NormPooling2D` computes the norm of a vector.
"""


def to_root_network(model):
    """Returns a network of the same classes with a proven bound."""
    first, last = (each for each in model.layers if hasattr(each, "kernel"))
    kernel, w, b = (
        keras.ops.convert_to_numpy(each)
        for each in (first.kernel, last.kernel, last.bias)
    )
    sign, square = np.sign(w.item()), -b.item() / w.item()
    if not square > 0:
        raise ValueError(
            "`w` and `b` must have opposite signs: otherwise there is no "
            f"boundary. Received: w={w.item()}, b={b.item()}"
        )
    network = kl.models.LipschitzSequential(
        [
            keras.Input((len(kernel),)),
            keras.layers.Dense(kernel.shape[1], use_bias=False),
            keras.layers.Reshape((kernel.shape[1], 1, 1)),
            kl.layers.GlobalL2NormPooling2D(data_format="channels_last"),
            keras.layers.Dense(1),
        ],
        name="root",
    )
    network.set_weights(
        [kernel, np.full((1, 1), sign), np.full(1, -sign * square**0.5)]
    )
    return network


def make_max_min(dimension, hidden):
    """Returns a network of orthogonal matrices and `MaxMin`."""
    network = [keras.Input((dimension,))]
    for _ in range(3):
        network += [kl.layers.OrthogonalDense(hidden), kl.layers.MaxMin()]
    network.append(kl.layers.UnitNormDense(1))
    return kl.models.LipschitzSequential(network, name="max_min")


"""
## Training

The quadratic networks minimize the crossentropy with Adam, as in the paper. The
`MaxMin` network minimizes the loss `HKR`, whose hinge asks for a margin a
little below the largest one that is possible, half of the gap.
"""


def train(name, axes, arguments):
    """Trains a network; returns it, and what was seen on the way."""
    keras.utils.set_random_seed(arguments.seed)
    dimension, hidden, number = len(axes), arguments.hidden, arguments.samples
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    rate, stages = 1e-3, 10
    if name != "quadratic":
        number = arguments.lipschitz_samples
    if name == "MaxMin":
        model = make_max_min(dimension, hidden)
        loss = kl.losses.HKR(alpha=100.0, margin=0.9 * MARGIN)
        rate = keras.optimizers.schedules.CosineDecay(
            0.01, number // arguments.batch_size
        )
    elif name == "quadratic":
        model = make_quadratic(dimension, hidden)
    else:
        first = kl.layers.OrthogonalDense(hidden, use_bias=False)
        model = make_quadratic(dimension, hidden, first)
        rate = 1e-2
    steps = max(1, number // arguments.batch_size // stages)
    samples = NewSamples(axes, arguments.batch_size, steps, arguments.seed)
    history = []

    def record(epoch, logs):
        if name != "MaxMin":
            found = examine(model, axes)
            history.append(
                {
                    "samples": (epoch + 1) * steps * arguments.batch_size,
                    "exact_error": found["exact_error"],
                    "in_range": found["in_range"],
                }
            )

    model.compile(keras.optimizers.Adam(rate), loss)
    watch = keras.callbacks.LambdaCallback(on_epoch_end=record)
    model.fit(samples, epochs=stages, verbose=0, callbacks=[watch])
    return model, history


def test(name, surface, arguments):
    """Trains, examines, certifies and attacks a network."""
    axes = make_axes(surface, arguments.dimension)
    model, history = train(name, axes, arguments)
    rng = np.random.default_rng((arguments.seed, 2**32))
    points, labels = draw_samples(rng, arguments.tests, axes)
    scores = model.predict(points, batch_size=1000, verbose=0)[:, 0]
    row = {
        "surface": surface,
        "network": name,
        "errors": int(np.sum((scores > 0) != labels)),
        "tests": arguments.tests,
    }
    if name != "MaxMin":
        row |= {**examine(model, axes), "history": history}
        model = to_root_network(model)
    points, labels = points[: arguments.attacked], labels[: arguments.attacked]
    report = kl.certificates.certify(model, points, labels)
    attacks = kl.certificates.falsify(model, points, labels, report)
    radii = np.where(report.prediction == labels, report.radius, 0.0)
    return row | {
        # Bounds are rounded to the safe side.
        "lipschitz_bound": math.ceil(1e5 * report.lipschitz_bound) / 1e5,
        "radius": math.floor(1e4 * np.median(radii)) / 1e4,
        "attacked": attacks.num_attacked,
        "nearest_attack": attacks.nearest,
    }


"""
## Perfectly wrong

If the last weight must be orthogonal as well, it is 1 or -1. Cayley's transform
only reaches 1. If class 1 is the *inner* sphere, -1 is needed: training moves
the bias to a place where the network is wrong on all samples. Björck's
iteration keeps the sign that it starts with.
"""


def train_signs(arguments):
    """Returns the accuracies with an orthogonal last weight."""
    axes, found = make_axes("spheres", arguments.dimension), []
    for parametrization, start in (
        ("cayley", 1),
        ("bjorck", 1),
        ("bjorck", -1),
    ):
        keras.utils.set_random_seed(arguments.seed)
        last = kl.layers.OrthogonalDense(
            1,
            kernel_initializer=constant(start),
            parametrization=parametrization,
        )
        first = kl.layers.OrthogonalDense(arguments.hidden, use_bias=False)
        model = make_quadratic(len(axes), arguments.hidden, first, last)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.05), loss)
        samples = NewSamples(axes, 100, 200, arguments.seed, flip=True)
        model.fit(samples, verbose=0)
        rng = np.random.default_rng((arguments.seed, 2**32))
        points, labels = draw_samples(rng, 1000, axes)
        scores = model.predict(points, verbose=0)[:, 0]
        found.append(
            {
                "parametrization": parametrization,
                "start": start,
                "weight": keras.ops.convert_to_numpy(last.kernel).item(),
                "accuracy": np.mean((scores > 0) != labels),
            }
        )
    return found


"""
## Results
"""


def format_table(rows):
    """Returns the rows as lines of text."""
    lines = [
        f"{'surface':<12}{'network':<22}{'errors':>16}{'exact error':>13}"
        f"{'in range':>10}{'wrong somewhere':>17}{'radius':>8}{'nearest':>9}"
    ]
    for row in rows:
        errors = f"{row['errors']} of {row['tests']}"
        line = f"{row['surface']:<12}{row['network']:<22}{errors:>16}"
        if "alphas" in row:
            wrong = "yes" if row["wrong_somewhere"] else "no"
            error = f"{row['exact_error']:.1e}"
            if 0 < row["exact_error"] < RESOLUTION:
                error = f"< {RESOLUTION:.0e}"
            line += f"{error:>13}{row['in_range']:>10.1%}{wrong:>17}"
        else:
            line += f"{'-':>13}{'-':>10}{'-':>17}"
        lines.append(
            f"{line}{row['radius']:>8.3f}{row['nearest_attack']:>9.3f}"
        )
    return "\n".join(lines)


def draw(results, path):
    """Draws the results, as they are in the JSON file, to a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    histogram, progress = figure.subplots(1, 2)
    rows = [row for row in results["rows"] if "alphas" in row]
    for row in rows:
        label = f"{row['network']}, {row['surface']}"
        histogram.plot(
            np.linspace(0, 1, len(row["alphas"])), row["alphas"], label=label
        )
        if row["network"] == "quadratic":
            seen = [each["samples"] for each in row["history"]]
            errors = [
                max(each["exact_error"], RESOLUTION) for each in row["history"]
            ]
            shares = [each["in_range"] for each in row["history"]]
            (line,) = progress.loglog(
                seen, errors, "o-", label=f"error, {row['surface']}"
            )
            progress.loglog(
                *(seen, [max(1 - share, 1e-3) for share in shares]),
                *("s--",),
                color=line.get_color(),
                label=f"alpha out of range, {row['surface']}",
            )
    histogram.axhspan(RADIUS**-2, 1, color="tab:green", alpha=0.2)
    histogram.set_ylim(0, 2)
    histogram.set_xlabel("share of the directions")
    histogram.set_ylabel("alpha (green: no error)")
    histogram.legend()
    progress.set_xlabel("samples seen")
    progress.set_ylabel("share")
    progress.grid(alpha=0.3)
    progress.legend()
    figure.savefig(path, dpi=120)


def round_numbers(value):
    """Rounds all numbers in nested lists and dicts, for JSON."""
    if isinstance(value, dict):
        return {key: round_numbers(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [round_numbers(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}")
    return value


def parse_arguments(argv):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Adversarial spheres.")
    parser.add_argument("--dimension", type=int, default=100)
    parser.add_argument("--hidden", type=int, default=200)
    parser.add_argument(
        "--samples", type=int, default=3_000_000, help="of the quadratic"
    )
    parser.add_argument("--lipschitz-samples", type=int, default=500_000)
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--tests", type=int, default=200_000)
    parser.add_argument("--attacked", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=pathlib.Path("adversarial_spheres"),
    )
    parser.add_argument("--smoke", action="store_true", help="few samples")
    arguments = parser.parse_args(argv)
    if arguments.smoke:
        arguments.dimension, arguments.hidden = 20, 32
        arguments.samples = arguments.lipschitz_samples = 20_000
        arguments.batch_size, arguments.tests = 100, 2000
        arguments.attacked = 20
    return arguments


def main(argv=None):
    """Trains all networks, prints what they get wrong, and writes it."""
    arguments = parse_arguments(argv)
    rows = [
        test(name, surface, arguments)
        for surface in ("spheres", "ellipsoids")
        for name in NETWORKS
    ]
    signs = train_signs(arguments)
    print(format_table(rows))
    print("\nAn orthogonal last weight, if class 1 is the inner sphere:")
    for each in signs:
        print(
            f"{each['parametrization']} from {each['start']:+d}: weight "
            f"{each['weight']:+.0f}, accuracy {each['accuracy']:.1%}"
        )
    results = round_numbers({"rows": rows, "signs": signs})
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "adversarial_spheres.json"
    path.write_text(json.dumps(results) + "\n", encoding="utf-8")
    draw(results, path.with_suffix(".png"))
    print(f"Written to {arguments.output}/: {path.name}, {path.stem}.png")
    return results


if __name__ == "__main__":
    main()
