"""# Measure a Wasserstein distance with a 1-Lipschitz critic

The Wasserstein-1 distance of two distributions is the largest difference of
means, `E f(x1) - E f(x2)`, that a 1-Lipschitz function `f` can make. A network
that is proven 1-Lipschitz can therefore not exceed the distance, and shows how
much of it a class of networks can reach. This script

- trains critics on pairs of distributions whose distance is known, with the
  activations `MaxMin` and `ReLU`,
- bounds each distance from below, with a confidence of 95 %,
- and shows that the best critic can be a bad classifier.

It writes `wasserstein.json` and `wasserstein.png`.

    python examples/wasserstein.py              # 3 minutes
    python examples/wasserstein.py --transport  # beside the distance by POT
    python examples/wasserstein.py --smoke      # seconds
"""

import argparse
import dataclasses
import json
import math
import pathlib
import typing

import keras
import numpy as np

import keras_lip as kl

CONFIDENCE = 0.95
ACTIVATIONS = ("MaxMin", "ReLU")

"""
## Distributions whose distance is known

- All mass at 0 moves by 1 to reach -1 or 1.
- A sphere of radius 2 shrinks to one of radius 1 if each point moves by 1, and
  the function `|x|` proves that nothing less is enough.
- Two Gaussians of equal covariance differ by a translation. A linear function
  proves that nothing shorter is enough. They are cut off at 5 standard
  deviations: the lower bound needs a bounded support.
"""


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two distributions.

    Args:
        name: String.
        dimension: Integer.
        distance: Float. Their Wasserstein-1 distance.
        diameter: Float. Two points of the support of one of the distributions
            are at most this far apart.
        sample: Function of a generator and a number that draws `x1` and `x2`.
    """

    name: str
    dimension: int
    distance: float
    diameter: float
    sample: typing.Callable


def draw_point_and_ends(rng, number):
    """Returns samples of -1 and 1, and of 0."""
    return rng.choice([-1.0, 1.0], (number, 1)), np.zeros((number, 1))


def draw_spheres(rng, number, dimension):
    """Returns samples of spheres of radii 2 and 1."""
    points = rng.normal(size=(2, number, dimension))
    outer, inner = points / np.linalg.norm(points, axis=-1, keepdims=True)
    return 2 * outer, inner


def draw_gaussians(rng, number, deviations):
    """Returns samples of two Gaussians, 1 apart along the diagonal."""
    size = (2, number, len(deviations))
    points = rng.normal(size=size)
    while (far := np.linalg.norm(points, axis=-1) > 5).any():
        points = np.where(far[..., None], rng.normal(size=size), points)
    first, second = points * deviations
    return first + 1 / len(deviations) ** 0.5, second


def make_pairs():
    """Returns the pairs of distributions."""
    deviations = np.linspace(0.25, 1.0, 8)
    pairs = [Pair("0 and ±1", 1, 1.0, 2.0, draw_point_and_ends)]
    for dimension in (2, 8):
        name = "circles" if dimension == 2 else f"spheres in R^{dimension}"

        def draw(rng, number, dimension=dimension):
            return draw_spheres(rng, number, dimension)

        pairs.append(Pair(name, dimension, 1.0, 4.0, draw))
    pairs.append(
        Pair(
            f"Gaussians in R^{len(deviations)}",
            len(deviations),
            1.0,
            10.0 * deviations.max(),
            lambda rng, number: draw_gaussians(rng, number, deviations),
        )
    )
    return pairs


class NewSamples(keras.utils.PyDataset):
    """Batches of new samples, labelled 1 for `x1` and 0 for `x2`."""

    def __init__(self, draw, batch_size, steps, seed):
        super().__init__()
        self.draw, self.batch_size = draw, batch_size
        self.steps, self.seed = steps, seed

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, index))
        x1, x2 = self.draw(rng, self.batch_size)
        labels = np.repeat([1.0, 0.0], [len(x1), len(x2)])
        return np.concatenate([x1, x2]).astype("float32"), labels


"""
## Critics

The kernels are orthogonal, and the last layer has a weight vector of norm one.
Only the activation differs. `MaxMin` sorts pairs of entries, so that the
gradient keeps its norm. `ReLU` sets entries to zero, and a network of
orthogonal kernels loses them.
"""


def make_critic(dimension, activation, units, depth):
    """Returns a network of which every layer's bound is proven."""
    network = [keras.Input((dimension,))]
    for _ in range(depth):
        network.append(
            kl.layers.OrthogonalDense(units, parametrization="bjorck")
        )
        network.append(
            kl.layers.MaxMin()
            if activation == "MaxMin"
            else keras.layers.ReLU()
        )
    network.append(kl.layers.UnitNormDense(1))
    return kl.models.LipschitzSequential(network, name="critic")


def train(critic, samples, loss):
    """Trains a critic on batches of samples, once each."""
    schedule = keras.optimizers.schedules.CosineDecay(0.01, len(samples))
    critic.compile(keras.optimizers.Adam(schedule), loss)
    critic.fit(samples, verbose=0)


def measure(pair, activation, arguments):
    """Trains a critic, and bounds the distance with new samples."""
    keras.utils.set_random_seed(arguments.seed)
    critic = make_critic(
        pair.dimension, activation, arguments.units, arguments.depth
    )
    samples = NewSamples(
        pair.sample, arguments.batch_size, arguments.steps, arguments.seed
    )
    train(critic, samples, kl.losses.KantorovichRubinstein())
    # A seed that no batch had: the bound needs samples new to the critic.
    rng = np.random.default_rng((arguments.seed, arguments.steps))
    report = kl.certificates.wasserstein_lower_bound(
        critic,
        *pair.sample(rng, arguments.samples),
        confidence=CONFIDENCE,
        diameter=pair.diameter,
    )
    return critic, report


"""
## The exact distance of samples, to compare with

POT solves the transport problem between two finite samples. This distance has
an error of its own: in high dimensions two samples of one distribution are far
apart, so it lies above the distance of the distributions.
"""


def transport_distance(x1, x2):
    """Returns the exact distance of two samples of equal size."""
    try:
        import ot
    except ImportError as error:
        raise SystemExit(
            'The option --transport needs POT: pip install "keras-lip'
            '[transport]"'
        ) from error
    return float(ot.emd2([], [], ot.dist(x1, x2, metric="euclidean")))


"""
## The best critic is a weak classifier

On the line, let P be uniform on 0, 2, ..., 2n - 2, and Q on 3, 5, ..., 2n + 1.
Their distance is 3, and only the critics `x + c` reach it: they must rise with
slope one from each 2i to 2i + 3, and these intervals cover everything. But no
threshold on `x` separates points that alternate. The best one errs on a
fraction `1/2 - 1/n` of them, though P and Q are disjoint. The hinge of the loss
`HKR` asks for the signs instead, and the same network finds them. (All points
are moved so that their mean is zero, where the biases start.)
"""


def make_alternating_sets(n):
    """Returns the points of Q and of P, each of shape `(n, 1)`."""
    p = 2.0 * np.arange(n)[:, None] - n - 0.5
    return p + 3, p


def best_threshold_error(positive, negative):
    """Returns the smallest error of a threshold on scores."""
    scores = np.concatenate([positive, negative])
    thresholds = np.append(np.unique(scores), np.inf)
    return min(
        (np.mean(positive < each) + np.mean(negative >= each)) / 2
        for each in thresholds
    )


def compare_losses(arguments):
    """Trains the best critic and a classifier on alternating points."""
    q, p = make_alternating_sets(arguments.points)
    grid = np.linspace(p.min() - 1, q.max() + 1, 121)[:, None]
    found = {
        "points": arguments.points,
        "grid": grid[:, 0],
        "predicted_error": 0.5 - 1 / arguments.points,
    }
    for name, loss in (
        ("critic", kl.losses.KantorovichRubinstein()),
        ("classifier", kl.losses.HKR(alpha=100.0, margin=0.4)),
    ):
        keras.utils.set_random_seed(arguments.seed)
        model = make_critic(1, "MaxMin", arguments.units, arguments.depth)
        points = NewSamples(lambda *_: (q, p), None, arguments.steps, 0)
        train(model, points, loss)
        # These points are the whole distributions, and no samples of them.
        report = kl.certificates.wasserstein_lower_bound(model, q, p)
        positive, negative, curve = (
            model.predict(x, verbose=0)[:, 0] for x in (q, p, grid)
        )
        found[name] = {
            "distance": report.estimate,
            "threshold_error": best_threshold_error(positive, negative),
            "sign_error": (np.mean(positive <= 0) + np.mean(negative > 0)) / 2,
            "curve": curve,
        }
    return found


"""
## Results
"""


def format_table(rows):
    """Returns the distances as lines of text."""
    lines = [
        f"{'distributions':<18}{'activation':<12}{'distance':>9}"
        f"{'estimate':>18}{'lower bound':>13}{'bound L':>10}"
    ]
    for row in rows:
        estimate = f"{row['estimate']:.4f} ± {row['standard_error']:.4f}"
        lines.append(
            f"{row['pair']:<18}{row['activation']:<12}{row['distance']:>9.4f}"
            f"{estimate:>18}{row['lower_bound']:>13.4f}"
            f"{row['lipschitz_bound']:>10.5f}"
        )
    return "\n".join(lines)


def format_weak(weak):
    """Returns the errors of both losses as lines of text."""
    lines = [f"{'loss':<12}{'distance':>9}{'by threshold':>14}{'by sign':>9}"]
    for name in ("critic", "classifier"):
        each = weak[name]
        lines.append(
            f"{name:<12}{each['distance']:>9.4f}{each['threshold_error']:>14.1%}"
            f"{each['sign_error']:>9.1%}"
        )
    return "\n".join(lines)


def draw(results, path):
    """Draws the results, as they are in the JSON file, to a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    bars, line, weak = figure.subplots(1, 3)
    colors = dict(zip(ACTIVATIONS, ("tab:blue", "tab:orange"), strict=True))

    names = list(dict.fromkeys(row["pair"] for row in results["rows"]))
    for row in results["rows"]:
        second = row["activation"] == ACTIVATIONS[1]
        height = names.index(row["pair"]) + (0.2 if second else -0.2)
        label = row["activation"] if row["pair"] == names[0] else None
        color = colors[row["activation"]]
        share = row["estimate"] / row["distance"]
        bars.barh(height, share, 0.36, color=color, label=label)
        bound = row["lower_bound"] / row["distance"]
        bars.plot([bound] * 2, [height - 0.18, height + 0.18], color="black")
    bars.axvline(1, color="gray", linestyle="--")
    bars.set_yticks(range(len(names)), names)
    bars.invert_yaxis()
    bars.set_xlabel("estimate / distance (black: lower bound, 95 %)")
    bars.legend(loc="lower left")

    grid = np.array(results["line"]["grid"])
    line.plot(grid, np.abs(grid), "--", color="gray", label="|x|")
    for activation in ACTIVATIONS:
        values = np.array(results["line"][activation])
        values = values - values[len(values) // 2]
        line.plot(grid, values, color=colors[activation], label=activation)
    line.plot([-1, 1], [0, 0], "o", color="tab:red", clip_on=False)
    line.plot([0], [0], "o", color="black")
    line.set_xlabel("x")
    line.set_title("critics of 0 and ±1")
    line.legend()

    found = results["weak"]
    for name, color in (("critic", "tab:blue"), ("classifier", "tab:green")):
        values = np.array(found[name]["curve"])
        if name == "critic":
            values = values - values.mean()
        weak.plot(found["grid"], values, color=color, label=name)
    q, p = make_alternating_sets(found["points"])
    weak.plot(q, np.zeros_like(q), "o", color="tab:red", label="Q")
    weak.plot(p, np.zeros_like(p), "o", color="black", label="P")
    weak.set_xlabel("x")
    weak.set_title("the best critic, and a classifier")
    weak.legend()
    figure.savefig(path, dpi=120)


def round_numbers(value, digits=5):
    """Rounds all numbers in nested lists and dicts, for JSON."""
    if isinstance(value, dict):
        return {key: round_numbers(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [round_numbers(each) for each in value]
    if isinstance(value, float | np.floating):
        return round(float(value), digits)
    return value


def parse_arguments(argv):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Wasserstein distances.")
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--points", type=int, default=5, help="of P and of Q")
    parser.add_argument(
        "--transport", action="store_true", help="exact distances, by POT"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("wasserstein")
    )
    parser.add_argument("--smoke", action="store_true", help="few steps")
    arguments = parser.parse_args(argv)
    if arguments.smoke:
        arguments.units, arguments.depth, arguments.steps = 16, 2, 150
        arguments.batch_size, arguments.samples = 64, 2000
    return arguments


def main(argv=None):
    """Trains all critics, prints the distances, and writes them."""
    arguments = parse_arguments(argv)
    rows, line = [], {"grid": np.linspace(-1.5, 1.5, 61)}
    for pair in make_pairs():
        for activation in ACTIVATIONS:
            critic, report = measure(pair, activation, arguments)
            rows.append(
                {
                    "pair": pair.name,
                    "dimension": pair.dimension,
                    "activation": activation,
                    "distance": pair.distance,
                    "diameter": pair.diameter,
                    "estimate": report.estimate,
                    "standard_error": report.standard_error,
                    # Bounds are rounded to the safe side.
                    "lower_bound": math.floor(1e4 * report.lower_bound) / 1e4,
                    "lipschitz_bound": math.ceil(1e5 * report.lipschitz_bound)
                    / 1e5,
                }
            )
            if arguments.transport:
                rng = np.random.default_rng(arguments.seed)
                exact = transport_distance(*pair.sample(rng, 1000))
                rows[-1]["transport"] = exact
            if pair.dimension == 1:
                x = line["grid"][:, None]
                line[activation] = critic.predict(x, verbose=0)[:, 0]
    weak = compare_losses(arguments)
    print(format_table(rows))
    for row in rows[:: len(ACTIVATIONS)] if arguments.transport else ():
        print(f"{row['pair']}: {row['transport']:.4f} between 1000 samples")
    print()
    print(format_weak(weak))
    print(f"Best threshold of x: {weak['predicted_error']:.1%}")

    results = round_numbers({"rows": rows, "line": line, "weak": weak})
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "wasserstein.json"
    path.write_text(json.dumps(results) + "\n", encoding="utf-8")
    draw(results, path.with_suffix(".png"))
    print(f"Written to {arguments.output}/: {path.name}, {path.stem}.png")
    return results


if __name__ == "__main__":
    main()
