"""# Certificates on probabilities

A certified radius says that the class stays the same. The Fisher-Rao distance
says more: how far the probabilities can move, for any set that they must not
leave. This script trains a small network on digits, proves within which
distance the predicted class, or one of the two most probable ones, keeps a
probability above one half, and lets a search look for closer inputs. It shows
in which directions of the input the probabilities change at all, and what the
probabilities become if something else is known of the digit. It writes
`probabilities.json` and `probabilities.png`.

    python examples/probabilities.py
"""

import argparse
import json
import pathlib

import keras
import numpy as np

import keras_lip as kl

THRESHOLD = 0.5
NUM_SHOWN = 4

"""
## The network

The digits are vectors of 64 pixels in [0, 1]. The loss trains probabilities
`softmax(temperature * logits)`, and the same temperature is used below.
"""


def load_digits():
    """Returns `(x_train, y_train), (x_test, y_test)`."""
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


def train(data, temperature, epochs):
    """Returns a trained network of logits."""
    model = kl.models.LipschitzSequential(
        [
            keras.Input((64,)),
            kl.layers.OrthogonalDense(64),
            kl.layers.MaxMin(),
            kl.layers.OrthogonalDense(64),
            kl.layers.MaxMin(),
            kl.layers.UnitNormDense(10),
        ]
    )
    loss = kl.losses.TemperatureSparseCategoricalCrossentropy(temperature)
    model.compile(keras.optimizers.Adam(5e-3), loss)
    model.fit(*data, batch_size=64, epochs=epochs, verbose=0)
    return model


def softmax(logits):
    """Returns probabilities in float64."""
    powers = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    return powers / np.sum(powers, axis=1, keepdims=True)


"""
## The proof

Let `P` be the probability of a set of classes. The closest distribution in
which it is only `t` has the same proportions within the set and outside, at the
Fisher-Rao distance `2 (arccos sqrt(t) - arccos sqrt(P))`. Probabilities move by
at most `fisher_rao_bound(epsilon)`, which is proportional to `epsilon` up to
pi. So they stay in the set `P > t` up to the quotient.

The margins prove a larger radius, because the log-odds of `P` change by at most
the largest change of a margin: `report.probability_radius`. It is rounded down.
"""


def fisher_rao_radius(report, probability, threshold, temperature):
    """Returns radii within which a probability stays above a threshold.

    They are only compared with larger ones, and not rounded to the safe side.
    """
    # The bound ends at pi, so the rate is that of a tiny distance.
    small = 2.0**-40
    rate = report.fisher_rao_bound(small, temperature) / small
    angles = np.arccos(np.sqrt([threshold])) - np.arccos(np.sqrt(probability))
    return np.maximum(2 * angles, 0.0) / rate


"""
## The search

The log-odds of the set are linearized at the last point found, and the next
point is the closest one to the digit at which the linear function reaches the
threshold. Every point that crosses the threshold is a real input, so its
distance bounds the true radius from above.
"""


def search(model, x, chosen, threshold, temperature, steps=12):
    """Returns inputs in which a set of classes is improbable, and distances.

    Args:
        model: The network.
        x: Array of shape `(num_samples, inputs)`.
        chosen: Boolean array of shape `(num_samples, classes)`. The sets.
        threshold: Float.
        temperature: Float.
        steps: Integer.

    Returns:
        Inputs, and their distances, which are infinite if none was found.
    """
    x = x.astype("float64")
    best, distances = x.copy(), np.full(len(x), np.inf)
    goal = np.log(threshold / (1 - threshold))
    delta = np.zeros_like(x)
    for _ in range(steps):
        odds, gradient = differentiate(model, x + delta, chosen, temperature)
        along = np.sum(gradient * delta, axis=1) - (odds - goal)
        squares = np.sum(gradient**2, axis=1)
        delta = gradient * (along / squares)[:, None]
        for factor in (1.0, 1.01, 1.1):
            tried = (x + factor * delta).astype("float32")
            probability = total(model, tried, chosen, temperature)
            lengths = np.linalg.norm(tried - x, axis=1)
            closer = (probability <= threshold) & (lengths < distances)
            best[closer] = tried[closer]
            distances[closer] = lengths[closer]
    return best, distances


def differentiate(model, x, chosen, temperature):
    """Returns the log-odds of sets of classes, and their gradients."""
    p = softmax(temperature * model.predict(x, verbose=0).astype("float64"))
    jacobian = kl.explanations.saliency_maps(model, x).gradients[0]
    inside = np.where(chosen, p, 0)
    outside = p - inside
    odds = np.log(inside.sum(axis=1)) - np.log(outside.sum(axis=1))
    inside /= inside.sum(axis=1, keepdims=True)
    outside /= outside.sum(axis=1, keepdims=True)
    gradient = np.einsum("nc,nci->ni", inside - outside, jacobian)
    return odds, temperature * gradient


def total(model, x, chosen, temperature):
    """Returns the probabilities of sets of classes."""
    logits = model.predict(x, verbose=0).astype("float64")
    return np.where(chosen, softmax(temperature * logits), 0).sum(axis=1)


def check_radii(model, report, x, temperature):
    """Compares proven radii with the distances that the search finds."""
    p = softmax(temperature * report.logits)
    results = {}
    for name, size in (("predicted class", 1), ("two classes", 2)):
        order = np.argsort(-p, axis=1)
        chosen = np.zeros(p.shape, dtype=bool)
        np.put_along_axis(chosen, order[:, :size], True, axis=1)
        probability = np.where(chosen, p, 0).sum(axis=1)
        radii = {
            "Fisher-Rao": fisher_rao_radius(
                report, probability, THRESHOLD, temperature
            ),
            "margins": report.probability_radius(
                THRESHOLD, temperature, chosen
            ),
        }
        # The others are below the threshold already.
        kept = probability > THRESHOLD
        found, distances = search(
            model, x[kept], chosen[kept], THRESHOLD, temperature
        )
        moved = kl.certificates.fisher_rao_distance(
            softmax(temperature * model.predict(found, verbose=0)), p[kept]
        )
        allowed = np.array(
            [
                report.fisher_rao_bound(min(each, 1e3), temperature)
                for each in distances
            ]
        )
        results[name] = {
            "found": distances.tolist(),
            "proven": {
                method: radius[kept].tolist()
                for method, radius in radii.items()
            },
            "violations": sum(
                int(np.sum(radius[kept] > distances))
                for radius in radii.values()
            ),
            "largest_share_of_bound": float(np.max(moved / allowed)),
        }
        print(
            f"{name}: {np.sum(kept)} digits, "
            + ", ".join(
                f"median radius by {method} {np.median(radius[kept]):.3f}"
                for method, radius in radii.items()
            )
            + f", found {np.median(distances):.3f}, violations "
            f"{results[name]['violations']}"
        )
    return results


"""
## Where probabilities change

The Fisher information on the inputs, `J^T G J`, has at most as many positive
eigenvalues as there are classes, minus one. All other directions of the 64 do
not change the probabilities to first order. No eigenvalue exceeds
`(temperature * L)^2 / 2` with the bound `L` of the logits.
"""


def decompose(model, x, temperature):
    """Returns the spectrum of the Fisher information at digits."""
    found = kl.explanations.fisher_information(model, x, temperature)
    bound = kl.bounds.lipschitz_bound(model)
    spectrum = {
        "mean": found.eigenvalues.mean(axis=0).tolist(),
        "largest": found.eigenvalues.max(axis=0).tolist(),
        "limit": (temperature * bound) ** 2 / 2,
        "ranks": np.bincount(found.rank, minlength=10).tolist(),
        "digits": np.round(255 * x[:NUM_SHOWN]).astype(int).tolist(),
        "directions": np.round(found.directions[:NUM_SHOWN, 0], 3).tolist(),
    }
    print(
        f"largest eigenvalue {max(spectrum['largest']):.2f}, at most "
        f"{spectrum['limit']:.2f}; ranks {spectrum['ranks']}"
    )
    return spectrum


"""
## Something else is known

A note says whether the digit is even, and is trusted with a probability of
0.99. Of all probabilities that agree with this, `information_projection` finds
those closest to the softmax.
"""


def read_note(logits, labels, temperature, trust=0.99):
    """Returns the accuracy with and without a right note on the parity."""
    even = np.arange(10) % 2 == 0
    noted = labels % 2 == 0
    probabilities = np.zeros(logits.shape)
    divergence = np.zeros(len(labels))
    for says_even in (True, False):
        rows = noted == says_even
        found = kl.explanations.information_projection(
            temperature * logits[rows], [(even == says_even) - trust]
        )
        probabilities[rows] = found.probabilities
        divergence[rows] = found.divergence
    row = {
        "accuracy": float(np.mean(logits.argmax(axis=1) == labels)),
        "accuracy_with_note": float(
            np.mean(probabilities.argmax(axis=1) == labels)
        ),
        "mean_divergence": float(divergence.mean()),
    }
    print("  ".join(f"{name} {value:.4f}" for name, value in row.items()))
    return row


"""
## The picture
"""


def draw(results, path):
    """Draws the results."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(2, 1))
    radii, spectrum = left.subplots(1, 2)
    for name, row in results["radii"].items():
        for method, proven in row["proven"].items():
            radii.plot(
                row["found"], proven, ".", label=f"{name}, {method}", ms=4
            )
    edge = max(max(row["found"]) for row in results["radii"].values())
    radii.plot([0, edge], [0, edge], "k--", linewidth=1)
    radii.set_xlabel("distance found by the search (l2)")
    radii.set_ylabel("proven radius (l2)")
    radii.set_title(f"probability above {THRESHOLD:g}", fontsize="medium")
    radii.legend(fontsize="small")
    values = results["spectrum"]
    number = range(1, 1 + len(values["mean"]))
    spectrum.semilogy(number, values["largest"], "o", label="largest")
    spectrum.semilogy(number, values["mean"], "s", label="mean of all digits")
    spectrum.axhline(values["limit"], color="k", linestyle="--", label="limit")
    spectrum.set_ylim(bottom=1e-6)
    spectrum.set_xlabel("number of the eigenvalue")
    spectrum.set_title("Fisher information on the inputs", fontsize="medium")
    spectrum.legend(fontsize="small")
    for axes in (radii, spectrum):
        axes.grid(alpha=0.3)
    grid = right.subplots(2, NUM_SHOWN)
    right.suptitle("digits, and their first directions", fontsize="medium")
    for index in range(NUM_SHOWN):
        digit = np.reshape(values["digits"][index], (8, 8))
        grid[0, index].imshow(digit, cmap="gray_r")
        direction = np.reshape(values["directions"][index], (8, 8))
        size = np.abs(direction).max()
        grid[1, index].imshow(direction, cmap="bwr", vmin=-size, vmax=size)
    for axes in grid.ravel():
        axes.set_axis_off()
    figure.savefig(path, format="png", dpi=130)


def round_floats(value, digits=5):
    """Rounds all floats of nested dicts and lists."""
    if isinstance(value, dict):
        return {key: round_floats(each, digits) for key, each in value.items()}
    if isinstance(value, list):
        return [round_floats(each, digits) for each in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def parse_arguments(argv):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Certify probabilities.")
    parser.add_argument("--temperature", type=float, default=8.0)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--samples", type=int, default=450)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("probabilities")
    )
    parser.add_argument("--smoke", action="store_true", help="in seconds")
    arguments = parser.parse_args(argv)
    if arguments.smoke:
        arguments.epochs, arguments.samples = 3, 40
    return arguments


def main(argv=None):
    """Trains, proves, searches and writes."""
    arguments = parse_arguments(argv)
    keras.utils.set_random_seed(arguments.seed)
    data, (x, y) = load_digits()
    x, y = x[: arguments.samples], y[: arguments.samples]
    model = train(data, arguments.temperature, arguments.epochs)
    report = kl.certificates.certify(model, x, y)
    results = {
        "temperature": arguments.temperature,
        "epochs": arguments.epochs,
        "seed": arguments.seed,
        "radii": check_radii(model, report, x, arguments.temperature),
        "spectrum": decompose(model, x, arguments.temperature),
        "note": read_note(report.logits, y, arguments.temperature),
    }
    results = round_floats(results)
    arguments.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, separators=(",", ":"))
    (arguments.output / "probabilities.json").write_text(text + "\n")
    draw(results, arguments.output / "probabilities.png")
    print(
        f"Written to {arguments.output}/: probabilities.json, probabilities.png"
    )


if __name__ == "__main__":
    main()
