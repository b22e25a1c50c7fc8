"""# Evaluate a trained network as the papers do

    python experiments/evaluate.py runs/fc3-mnist/model.keras --dataset mnist

measures clean and certified accuracy, the accuracy under each attack (PGD,
DeepFool and DDN; on PyTorch also AutoAttack, if `pyautoattack` is installed),
the empirical Lipschitz constant, and the singular values of the layers before
and after training. It writes into `--output`

- `evaluation.html`, a page with all results, and `evaluation.json`,
- `accuracy.png`, accuracies against the radius (figure 1 of Meunier et al.,
  2022),
- `singular_values.png` (figure 2 of Li et al., 2019).
"""

import argparse
import base64
import io
import pathlib

import jinja2
import keras
import matplotlib.figure
import numpy as np
from image_data import DATASETS
from image_data import load_images
from image_data import scale_images

import keras_lip as kl
from keras_lip.files import write_json
from keras_lip.files import write_text

TEMPLATE = pathlib.Path(__file__).with_name("evaluation.html")
ATTACKS = {"PGD": "pgd", "DeepFool": "deepfool", "DDN": "ddn"}

# Largest side of a matrix to decompose, and the image used beyond it.
MAX_SIDE = 4096
SMALL_IMAGE = (8, 8)


def parse_arguments(arguments=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description="Certify, attack and analyze a trained network."
    )
    parser.add_argument("model", type=pathlib.Path, help="a .keras file")
    parser.add_argument("--dataset", required=True, choices=sorted(DATASETS))
    parser.add_argument(
        "--data-dir",
        help="folder with NAME.npz or the data of TensorFlow Datasets",
    )
    parser.add_argument(
        "--samples",
        type=int,
        help="number of test images to certify (default: all)",
    )
    parser.add_argument("--attacked-samples", type=int, default=500)
    parser.add_argument("--attack-steps", type=int, default=40)
    parser.add_argument(
        "--points",
        type=int,
        default=11,
        help="number of evenly spaced radii in the plot of accuracies",
    )
    parser.add_argument("--output", type=pathlib.Path)
    parsed = parser.parse_args(arguments)
    for name in ("attacked_samples", "attack_steps", "points"):
        if getattr(parsed, name) < 1:
            option = name.replace("_", "-")
            parser.error(f"--{option} must be at least 1.")
    parsed.output = parsed.output or parsed.model.parent / "evaluation"
    return parsed


def load_classifier(path, dataset):
    """Loads a classifier and checks that it fits the data set."""
    if not path.exists():
        raise SystemExit(f"There is no file {path}.")
    try:
        model = keras.models.load_model(path, compile=False)
    except (ValueError, OSError, TypeError, KeyError) as error:
        raise SystemExit(
            f"{path} is not a valid Keras model: {error}"
        ) from error
    shape, classes = DATASETS[dataset].shape, DATASETS[dataset].classes
    found = tuple(model.input_shape[1:]), model.output_shape[-1]
    if found != (shape, classes):
        raise SystemExit(
            f"Images of {dataset} have shape {shape} and {classes} classes. "
            f"Received: a model from {found[0]} to {found[1]}"
        )
    return model


"""
## Attacks

Certified accuracy is a lower bound on the accuracy under every possible attack.
The accuracy under one attack is an upper bound on the certified accuracy.
"""


def run_attacks(model, images, labels, epsilons, published, steps):
    """Returns accuracies by attack and radius.

    AutoAttack takes minutes per radius, so it runs only at published radii.
    """
    measured = {
        title: kl.certificates.attacked_accuracy(
            model, images, labels, epsilons, steps=steps, attacks=[name]
        )
        for title, name in ATTACKS.items()
    }
    accuracies = run_autoattack(model, images, labels, published)
    if accuracies is None:
        print("AutoAttack was not run: it needs PyTorch and `pyautoattack`.")
    else:
        measured["AutoAttack"] = accuracies
    return measured


def run_autoattack(model, images, labels, epsilons):
    """Runs AutoAttack (Croce & Hein, 2020), or returns `None`."""
    if keras.backend.backend() != "torch":
        return None
    try:
        import pyautoattack
    except ImportError:
        return None

    def predict(x):
        return model(keras.ops.moveaxis(x, 1, -1), training=False)

    x = keras.ops.convert_to_tensor(images.transpose(0, 3, 1, 2).copy())
    y = keras.ops.convert_to_tensor(labels, dtype="int64")
    accuracies = {}
    for epsilon in epsilons:
        adversary = pyautoattack.AutoAttack(
            predict, norm="L2", eps=epsilon, seed=0, device=x.device
        )
        found, _ = adversary.run_standard_evaluation(x, y, batch_size=len(x))
        answers = predict(found).argmax(dim=1)
        accuracies[epsilon] = float((answers == y).float().mean())
    return accuracies


"""
## Singular values of the layers

Applying the linear map of a layer to every unit vector gives its matrix, which
is decomposed. If the matrix is too large, a smaller image is used. Layers that
are not affine, or remain too large, are skipped. The singular values before
training are computed with newly initialized weights.
"""


def singular_values(model, rng):
    """Returns a dict from names of layers to their singular values."""
    found = {}
    for layer in flatten(model):
        shape = tuple(layer.input.shape[1:])
        if not is_affine(layer, shape, rng):
            continue
        shape = shrink(layer, shape)
        if shape is not None:
            matrix = build_matrix(layer, shape)
            found[layer.name] = np.linalg.svd(matrix, compute_uv=False)
    return found


def flatten(model):
    """Yields the layers with a trained matrix, also in nested models."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from flatten(layer)
        elif any(len(weight.shape) > 1 for weight in layer.trainable_weights):
            yield layer


def is_affine(layer, shape, rng):
    """Whether a layer is a linear map plus a constant."""
    points = rng.normal(size=(2, *shape)).astype("float32")
    points = np.stack([0 * points[0], *points, points.sum(axis=0)])
    zero, first, second, both = apply(layer, points)
    residual = np.abs(both - first - second + zero).max()
    return residual <= 1e-4 * np.abs(both - zero).max()


def shrink(layer, shape):
    """Returns an input shape with a small enough matrix, or `None`."""
    if max(np.prod(shape), np.prod(layer.output.shape[1:])) <= MAX_SIDE:
        return shape
    small = (*SMALL_IMAGE, shape[-1])
    if len(shape) != 3 or isinstance(layer, kl.layers.CayleyConv2D):
        return None
    outputs = np.prod(layer.compute_output_shape((1, *small)))
    return small if max(np.prod(small), outputs) <= MAX_SIDE else None


def build_matrix(layer, shape):
    """Returns the matrix of a layer's linear map, one row per input entry."""
    size = int(np.prod(shape))
    points = np.concatenate([np.zeros((1, size)), np.eye(size)])
    mapped = apply(layer, points.reshape(-1, *shape).astype("float32"))
    return (mapped[1:] - mapped[:1]).reshape(size, -1).astype("float64")


def apply(layer, points):
    """Runs a layer at inference."""
    return keras.ops.convert_to_numpy(layer(points, training=False))


"""
## Plots
"""


def draw_accuracies(report, attacks, epsilons):
    """Plots certified and attacked accuracies against the radius.

    `report` must cover only the attacked samples.
    """
    figure = matplotlib.figure.Figure((7, 4.5), layout="constrained")
    axes = figure.subplots()
    certified = [100 * report.certified_accuracy(value) for value in epsilons]
    axes.plot(epsilons, certified, "k", label="certified")
    for title, accuracies in attacks.items():
        radii = [value for value in epsilons if value in accuracies]
        percent = [100 * accuracies[value] for value in radii]
        axes.plot(radii, percent, "--", label=title)
    axes.set(xlabel="radius (l2)", ylabel="accuracy (%)", ylim=(0, 100))
    axes.set_xlim(0, epsilons[-1])
    axes.grid(alpha=0.3)
    axes.legend()
    return to_png(figure)


def draw_singular_values(before, after):
    """Plots histograms of singular values, one panel per layer."""
    columns = 2
    rows = max(1, -(-len(after) // columns))
    figure = matplotlib.figure.Figure((8, 2.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for panel, name in zip(panels, after, strict=False):
        top = max(1.0, before[name].max(), after[name].max())
        # The value one lies in the middle of a bin.
        bins = np.arange(-0.0125, top + 0.025, 0.025)
        panel.hist(before[name], bins, alpha=0.6, label="before training")
        panel.hist(after[name], bins, alpha=0.6, label="after training")
        panel.set_title(name, fontsize=10)
        panel.set(xlabel="singular value", ylabel="number")
    for panel in list(panels):
        panel.set_axis_off()
    figure.axes[0].legend(fontsize=8)
    return to_png(figure)


def to_png(figure):
    """Returns the bytes of a figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def render(**values):
    """Returns the HTML page with the given values."""
    environment = jinja2.Environment(autoescape=True)
    environment.filters["data_uri"] = lambda png: (
        "data:image/png;base64," + base64.b64encode(png).decode()
    )
    return environment.from_string(TEMPLATE.read_text()).render(**values)


def main(arguments=None):
    """Evaluates a network and writes the results."""
    arguments = parse_arguments(arguments)
    model = load_classifier(arguments.model, arguments.dataset)
    _, (images, labels) = load_images(arguments.dataset, arguments.data_dir)
    images = scale_images(images[: arguments.samples])
    labels = labels[: arguments.samples]
    published = DATASETS[arguments.dataset].epsilons
    curve = np.linspace(0, published[-1], arguments.points).tolist()
    epsilons = sorted({*published, *curve})

    print("Auditing and certifying ...")
    audit = kl.certificates.audit(model)
    report = kl.certificates.certify(
        model, images, labels, published, audit=audit
    )
    print(report)
    print("Attacking ...")
    attacked = slice(0, arguments.attacked_samples)
    report.attacks.update(
        run_attacks(
            # The same function, but its kernels are computed only once.
            kl.models.materialize(model),
            images[attacked],
            labels[attacked],
            epsilons,
            published,
            arguments.attack_steps,
        )
    )
    part = kl.certificates.certify(
        model, images[attacked], labels[attacked], published, audit=audit
    )
    summary = kl.certificates.falsify(
        model,
        images[attacked],
        labels[attacked],
        part,
        steps=arguments.attack_steps,
    )
    print(summary)
    empirical = kl.bounds.lipschitz_estimate(model, images[:64])
    print(f"Empirical Lipschitz constant: {empirical:.4f}")

    rng = np.random.default_rng(0)
    after = singular_values(model, rng)
    before = singular_values(kl.models.clone_model(model), rng)
    pictures = {
        "accuracy": draw_accuracies(part, report.attacks, epsilons),
        "singular_values": draw_singular_values(before, after),
    }
    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    for name, png in pictures.items():
        (output / f"{name}.png").write_bytes(png)
    page = render(
        dataset=arguments.dataset,
        report=report,
        part=part,
        published=published,
        attacked=len(images[attacked]),
        empirical=empirical,
        summary=summary,
        **pictures,
    )
    write_text(output / "evaluation.html", page)
    write_json(
        output / "evaluation.json",
        {
            "clean": report.accuracy,
            "lipschitz_bound": report.lipschitz_bound,
            "empirical_lipschitz_constant": empirical,
            "nearest": summary.nearest,
            "certified": {
                value: report.certified_accuracy(value) for value in epsilons
            },
            "attacks": report.attacks,
            "singular_values": {
                name: [float(values.min()), float(values.max())]
                for name, values in after.items()
            },
        },
    )
    print(f"Written to {output}/")


if __name__ == "__main__":
    main()
