"""# Evaluate a trained network as the papers do

    python experiments/evaluate.py runs/fc3-mnist/model.keras --dataset mnist

measures clean and certified accuracy, the accuracy under each attack (PGD on
the crossentropy and on the margin, FGSM, DeepFool and DDN; on PyTorch also
AutoAttack, if the extra `autoattack` is installed), the empirical Lipschitz
constant, the singular values of the layers before and after training, and how
well gradients keep their norm. With `--decision-samples 100` it also runs the
boundary and the pointwise attack. It writes into `--output`

- `evaluation.html`, a page with all results, and `evaluation.json`,
- `accuracy.png`, accuracies against the radius (figure 1 of Meunier et al.,
  2022),
- `singular_values.png` (figure 2 of Li et al., 2019).

    python experiments/evaluate.py runs/*/model.keras --dataset cifar10

evaluates several networks, each into its folder of `--output`, and draws their
certified accuracy and accuracy under PGD in one figure, `comparison.png`. With
`--attack-steps 10 --largest-radius 1` it is figure 1 of Meunier et al.
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
ATTACKS = {
    "PGD": "pgd",
    "PGD on the margin": "pgd_cw",
    "FGSM": "fgsm",
    "DeepFool": "deepfool",
    "DDN": "ddn",
}
# Attacks that only see decisions.
DECISION_ATTACKS = {"boundary": "boundary", "pointwise": "pointwise"}

# Number of samples whose Jacobian is decomposed.
ISOMETRY_SAMPLES = 16

# Largest side of a matrix to decompose, and the image used beyond it.
MAX_SIDE = 4096
SMALL_IMAGE = (8, 8)


def parse_arguments(arguments=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description="Certify, attack and analyze a trained network."
    )
    parser.add_argument(
        "models",
        nargs="+",
        type=pathlib.Path,
        metavar="model",
        help="a .keras file, or several to compare",
    )
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
    parser.add_argument(
        "--largest-radius",
        type=float,
        help="end of the plot of accuracies (default: the largest published)",
    )
    parser.add_argument(
        "--decision-samples",
        type=int,
        default=0,
        help="number of images for the boundary and the pointwise attack",
    )
    parser.add_argument(
        "--decision-steps",
        type=int,
        default=25_000,
        help="steps of the boundary attack",
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        help="folder (default: `evaluation` beside the first model)",
    )
    parsed = parser.parse_args(arguments)
    if parsed.largest_radius is not None and not parsed.largest_radius > 0:
        parser.error("--largest-radius must be positive.")
    if parsed.decision_samples < 0:
        parser.error("--decision-samples must be at least 0.")
    for name in (
        "attacked_samples",
        "attack_steps",
        "decision_steps",
        "points",
    ):
        if getattr(parsed, name) < 1:
            option = name.replace("_", "-")
            parser.error(f"--{option} must be at least 1.")
    parsed.output = parsed.output or parsed.models[0].parent / "evaluation"
    return parsed


def name_models(paths):
    """Returns short, different names of files: their folders, or numbered."""
    names = [path.parent.name or path.stem for path in paths]
    return [
        name if names.count(name) == 1 else f"{name}-{number}"
        for number, name in enumerate(names, start=1)
    ]


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


def run_attacks(model, images, labels, epsilons, published, arguments):
    """Returns accuracies by attack and radius.

    AutoAttack takes minutes per radius, so it runs only at published radii.
    Attacks that only see decisions attack the first `--decision-samples`.
    """
    attack = kl.certificates.attacked_accuracy
    measured = {
        title: attack(
            model,
            images,
            labels,
            epsilons,
            steps=arguments.attack_steps,
            attacks=[name],
        )
        for title, name in ATTACKS.items()
    }
    count = arguments.decision_samples
    if count:
        for title, name in DECISION_ATTACKS.items():
            measured[f"{title}, first {count}"] = attack(
                model,
                images[:count],
                labels[:count],
                epsilons,
                steps=arguments.decision_steps,
                attacks=[name],
            )
    try:
        measured["AutoAttack"] = attack(
            model, images, labels, published, attacks=["autoattack"]
        )
    except (ImportError, ValueError) as error:
        print(f"AutoAttack was not run: {error}")
    return measured


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
## Isometry

If the singular values of the Jacobian are close to one, the network preserves
the norm of gradients. Where the norm of a gradient falls from the output to the
input, a layer attenuates it.
"""


def measure_isometry(model, images):
    """Returns a dict of numbers about the Jacobian and gradients."""
    images = images[:ISOMETRY_SAMPLES]
    jacobian = kl.bounds.jacobian_singular_values(model, images)
    counts, edges = jacobian.histogram()
    norms = kl.bounds.gradient_norms(model, images)
    return {
        "least": jacobian.least,
        "largest": jacobian.largest,
        "share_near_one": jacobian.share_near_one(),
        "histogram": {"counts": counts.tolist(), "edges": edges.tolist()},
        "gradient_norms": {
            name: float(values.mean()) for name, values in norms.items()
        },
    }


"""
## Plots
"""


def draw_accuracies(report, attacks, epsilons, largest):
    """Plots certified and attacked accuracies against the radius.

    `report` must cover only the attacked samples. The plot ends at `largest`.
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
    axes.set_xlim(0, largest)
    axes.grid(alpha=0.3)
    axes.legend()
    return to_png(figure)


def draw_comparison(evaluations, epsilons, largest):
    """Plots the accuracies of several networks against the radius.

    Lines are certified accuracies, and dashed lines accuracies under PGD, both
    of the attacked samples.

    Args:
        evaluations: Dict from names to pairs of a report of the attacked
            samples and a dict of accuracies by attack.
        epsilons: List of radii.
        largest: Float. End of the plot.
    """
    figure = matplotlib.figure.Figure((7, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (name, (report, attacks)) in enumerate(evaluations.items()):
        certified = [report.certified_accuracy(value) for value in epsilons]
        attacked = [attacks["PGD"][value] for value in epsilons]
        color = f"C{number}"
        percent = 100 * np.array([certified, attacked])
        axes.plot(epsilons, percent[0], color=color, label=name)
        axes.plot(epsilons, percent[1], "--", color=color)
    axes.set(xlabel="radius (l2)", ylabel="accuracy (%)", ylim=(0, 100))
    axes.set_xlim(0, largest)
    axes.set_title("certified, and under PGD (dashed)", fontsize=10)
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


def evaluate(path, data, epsilons, arguments, output):
    """Evaluates one network and writes the results.

    Returns:
        Pair of the report of the attacked samples and a dict of accuracies by
        attack.
    """
    model = load_classifier(path, arguments.dataset)
    images, labels = data
    published = DATASETS[arguments.dataset].epsilons
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
            arguments,
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
    isometry = measure_isometry(model, images)
    print(
        "Singular values of the Jacobian: "
        f"{isometry['least']:.4f} to {isometry['largest']:.4f}, "
        f"{isometry['share_near_one']:.1%} within 5 % of one"
    )

    rng = np.random.default_rng(0)
    after = singular_values(model, rng)
    before = singular_values(kl.models.clone_model(model), rng)
    pictures = {
        "accuracy": draw_accuracies(
            part, report.attacks, epsilons, arguments.largest_radius
        ),
        "singular_values": draw_singular_values(before, after),
    }
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
        isometry=isometry,
        summary=summary,
        **pictures,
    )
    write_text(output / "evaluation.html", page)
    is_correct = report.prediction == report.label
    write_json(
        output / "evaluation.json",
        {
            "sha256": audit.sha256,
            "samples": len(images),
            "attacked_samples": len(images[attacked]),
            "attack_steps": arguments.attack_steps,
            "clean": report.accuracy,
            # As the papers' decision-based attacks, of 100 images or none.
            "clean_first_100": float(np.mean(is_correct[:100]))
            if len(images) >= 100
            else None,
            "lipschitz_bound": report.lipschitz_bound,
            "empirical_lipschitz_constant": empirical,
            "isometry": isometry,
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
    return part, report.attacks


def main(arguments=None):
    """Evaluates networks and compares them."""
    arguments = parse_arguments(arguments)
    for path in arguments.models:
        # Before the first evaluation, which takes minutes.
        load_classifier(path, arguments.dataset)
    _, (images, labels) = load_images(arguments.dataset, arguments.data_dir)
    images = scale_images(images[: arguments.samples])
    labels = labels[: arguments.samples]
    published = DATASETS[arguments.dataset].epsilons
    arguments.largest_radius = arguments.largest_radius or published[-1]
    curve = np.linspace(0, arguments.largest_radius, arguments.points)
    epsilons = sorted({*published, *curve.tolist()})
    output = arguments.output
    if len(arguments.models) == 1:
        evaluate(
            arguments.models[0], (images, labels), epsilons, arguments, output
        )
        return
    evaluations = {}
    for name, path in zip(
        name_models(arguments.models), arguments.models, strict=True
    ):
        print(f"{name}:")
        evaluations[name] = evaluate(
            path, (images, labels), epsilons, arguments, output / name
        )
    png = draw_comparison(evaluations, epsilons, arguments.largest_radius)
    (output / "comparison.png").write_bytes(png)
    print(f"Written to {output}/comparison.png")


if __name__ == "__main__":
    main()
