"""# Train a published network with its recipe

    python experiments/train.py --recipe small-bcop --dataset mnist

trains a recipe of `recipes.toml` on a data set, certifies the network after the
last epoch on the test set, attacks it, and writes into `--output`

- `model.keras`, the classifier, with `report.html` and `report.json`,
- `result.json`, the results for a row of `docs/results`,
- `log.csv`, one line per epoch, and with `--tensorboard` its logs,
- `checkpoints/`, from which `--resume` continues after the last finished epoch.

The test set is used only at the end, so no choice depends on it. To choose a
recipe, use `--validation`, which holds out images of the training set and
evaluates on them instead of the test set.
"""

import argparse
import csv
import dataclasses
import json
import pathlib
import shlex
import sys

import keras
import numpy as np
from checkpoints import Checkpoints
from checkpoints import Stopwatch
from checkpoints import restore
from device import describe_hardware
from device import make_deterministic
from image_data import DATASETS
from image_data import ImageBatches
from image_data import load_images
from image_data import scale_images
from image_data import to_pipeline
from recipes import add_kernel_decay
from recipes import build_epsilon_scheduler
from recipes import build_loss
from recipes import build_network
from recipes import build_optimizer
from recipes import load_recipe
from recipes import settle

import keras_lip as kl
from keras_lip.files import replace_file
from keras_lip.files import write_json
from keras_lip.losses.certified_loss import CertifiedLoss
from keras_lip.models.pair_estimate import PairEstimate

FEATURES, LOGITS = "features", "logits"


def parse_arguments(arguments=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description="Train, certify and attack a published network."
    )
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument(
        "--data-dir",
        help="folder with NAME.npz or the data of TensorFlow Datasets",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        help="number of epochs (default: that of the recipe)",
    )
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="replace an entry of the recipe, such as crop=2 or "
        "loss.margin=0.5; may be repeated",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument(
        "--resume", action="store_true", help="continue an interrupted run"
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="sum in a fixed order, so that another run on the same machine "
        "gives the same weights",
    )
    parser.add_argument(
        "--dtype-policy",
        help="dtype policy of the training (default: that of the recipe); the "
        "saved model computes in float32",
    )
    parser.add_argument(
        "--validation",
        type=int,
        default=0,
        help="number of images, from the end of the training set, to hold out "
        "and evaluate on instead of the test set",
    )
    parser.add_argument(
        "--samples",
        type=int,
        help="number of training images to use (default: all)",
    )
    parser.add_argument("--tensorboard", action="store_true")
    parser.add_argument("--attacked-samples", type=int, default=500)
    parser.add_argument("--attack-steps", type=int, default=40)
    parser.add_argument(
        "--verbose",
        default="auto",
        help="verbosity of the training: auto, 0, 1 or 2",
    )
    parsed = parser.parse_args(arguments)
    for name in ("epochs", "samples"):
        value = getattr(parsed, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1. Received: {value}")
    if parsed.verbose != "auto":
        parsed.verbose = int(parsed.verbose)
    name = f"{parsed.recipe}-{parsed.dataset}"
    parsed.output = parsed.output or pathlib.Path("runs") / name
    return parsed


"""
## Trained model

This is the classifier itself, unless its last layer is a `CurvatureHead`. In
that case the features before the head are a second output, for the loss.
"""


def make_trained(classifier, recipe, steps, epsilon):
    """Compiles a model that trains the layers of the classifier."""
    add_kernel_decay(classifier, recipe)
    head = classifier.layers[-1]
    while isinstance(head, keras.Model):
        head = head.layers[-1]
    optimizer = build_optimizer(recipe, steps)
    loss = build_loss(recipe, head)
    if not isinstance(head, kl.layers.CurvatureHead):
        metrics = ["accuracy", kl.metrics.CertifiedAccuracy(epsilon)]
        classifier.compile(optimizer, loss, metrics=metrics)
        return classifier
    network = classifier.layers[-1]
    if network is head:
        inputs, features = classifier.input, head.input
    else:
        trunk = keras.Model(network.input, head.input)
        inputs, features = classifier.input, trunk(network_input(classifier))
    model = keras.Model(inputs, {FEATURES: features, LOGITS: head(features)})
    model.compile(
        optimizer,
        {FEATURES: loss},
        metrics={LOGITS: ["sparse_categorical_accuracy"]},
    )
    return model


def network_input(classifier):
    """Returns the preprocessed inputs, which the network receives."""
    return classifier.layers[-2].output


"""
## Training

The order of the samples and their augmentation depend only on the seed and on
the number of the epoch. The order of sums on a device may still vary, unless
`--deterministic` is set.
"""


def describe_run(arguments, recipe):
    """Returns the settings that must not change when a run is resumed."""
    return {
        "recipe": arguments.recipe,
        "dataset": arguments.dataset,
        "seed": arguments.seed,
        "validation": arguments.validation,
        "samples": arguments.samples,
        "settings": json.loads(json.dumps(dataclasses.asdict(recipe))),
    }


def open_output(arguments, run):
    """Creates the folder of a run, or checks that it holds the same run."""
    output, file = arguments.output, arguments.output / "run.json"
    if not file.exists():
        output.mkdir(parents=True, exist_ok=True)
        write_json(file, run)
        return
    if not arguments.resume:
        raise SystemExit(
            f"{output} holds a run. Pass --resume to continue it, or another "
            "--output."
        )
    found = json.loads(file.read_text())
    differ = [name for name in run if run[name] != found.get(name)]
    if differ:
        raise SystemExit(
            f"{output} holds another run: {', '.join(differ)} differ. Pass the "
            "same arguments, or another --output."
        )


def make_callbacks(arguments, recipe, first_epoch):
    """Returns the callbacks of the recipe, of checkpoints and of logs."""
    output = arguments.output
    callbacks = []
    if recipe.svcm_clipping:
        callbacks.append(kl.callbacks.SVCMClipping(**recipe.svcm_clipping))
    scheduler = build_epsilon_scheduler(recipe)
    if scheduler is not None:
        callbacks.append(scheduler)
    callbacks.append(Checkpoints(output / "checkpoints"))
    trim_log(output / "log.csv", first_epoch)
    callbacks.append(
        keras.callbacks.CSVLogger(output / "log.csv", append=first_epoch > 0)
    )
    if arguments.tensorboard:
        try:
            import tensorboard  # noqa: F401
            import tensorflow  # noqa: F401
        except ImportError as error:
            raise SystemExit(
                "--tensorboard needs the packages tensorflow and tensorboard."
            ) from error
        callbacks.append(keras.callbacks.TensorBoard(output / "tensorboard"))
    return callbacks


def trim_log(path, epochs):
    """Removes the lines of epochs that will run again."""
    if not path.exists():
        return
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    kept = [row for row in rows[1:] if row and int(row[0]) < epochs]
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([*rows[:1], *kept])


def split_validation(images, labels, number):
    """Splits off the last images for validation."""
    if not 0 <= number < len(images):
        raise SystemExit(
            f"--validation must be between 0 and {len(images) - 1}. "
            f"Received: {number}"
        )
    cut = len(images) - number
    return (images[:cut], labels[:cut]), (images[cut:], labels[cut:])


def fit(model, recipe, arguments, parts):
    """Trains, and returns the first epoch and the time of all epochs."""
    (x, y), (x_val, y_val) = parts
    start = restore(model, arguments.output / "checkpoints")
    if start:
        print(f"Resuming after {start} of {recipe.epochs} epochs.")
    # A sequential model has a single output.
    named = getattr(model, "output", None)
    outputs = tuple(named) if isinstance(named, dict) else ()
    batches = ImageBatches(
        x,
        y,
        recipe.batch_size,
        arguments.seed,
        start,
        recipe.crop,
        recipe.flip,
        recipe.rand_augment,
        recipe.cutout,
        outputs,
    )
    validation = None
    if len(x_val):
        validation = (scale_images(x_val), batches.spread(y_val))
    stopwatch = Stopwatch(arguments.output / "times.json", start)
    # Training may have finished before the run was interrupted.
    if start < recipe.epochs:
        model.fit(
            to_pipeline(batches, recipe.epochs),
            epochs=recipe.epochs,
            initial_epoch=start,
            steps_per_epoch=len(batches),
            shuffle=False,
            validation_data=validation,
            callbacks=[stopwatch, *make_callbacks(arguments, recipe, start)],
            verbose=arguments.verbose,
        )
    return start, {
        name: stopwatch.total(name) for name in ("seconds", "cpu_seconds")
    }


"""
## Evaluation
"""


def evaluate(classifier, dataset, test, arguments):
    """Certifies the test images and attacks the first of them."""
    images, labels = scale_images(test[0]), test[1]
    epsilons = DATASETS[dataset].epsilons
    audit = kl.certificates.audit(classifier)
    report = kl.certificates.certify(
        classifier, images, labels, epsilons, audit=audit
    )
    count = arguments.attacked_samples
    if count:
        report.attacks[f"attacked, first {count}"] = (
            kl.certificates.attacked_accuracy(
                # The same function, but its kernels are computed only once.
                kl.models.materialize(classifier),
                images[:count],
                labels[:count],
                epsilons,
                steps=arguments.attack_steps,
            )
        )
    return report


def estimate_constants(trained):
    """Returns the estimated constants of margins that the loss uses.

    Returns `None` if it uses none. The estimates are of the final weights.
    Certificates use proven constants instead.
    """
    losses = keras.tree.flatten(trained.loss)
    if not any(isinstance(each, CertifiedLoss) for each in losses):
        return None
    return keras.ops.convert_to_numpy(PairEstimate(trained).compute(False))


def finish(trained, recipe, dataset):
    """Returns the classifier to certify and to save.

    It has no loss or optimizer, so it loads without them. It computes in
    float32, also after training in mixed precision. The steps that training
    estimates are replaced by proven ones.
    """
    keras.config.set_dtype_policy("float32")
    classifier = build_network(recipe, dataset)
    classifier.set_weights(trained.get_weights())
    return kl.models.fix_steps(classifier)


def main(arguments=None):
    """Trains, certifies and attacks a network, and writes the results."""
    arguments = parse_arguments(arguments)
    recipe = load_recipe(
        arguments.recipe, arguments.dataset, changes=arguments.changes
    )
    for name in ("epochs", "dtype_policy"):
        value = getattr(arguments, name)
        if value is not None:
            recipe = dataclasses.replace(recipe, **{name: value})
    train, test = load_images(arguments.dataset, arguments.data_dir)
    train = tuple(part[: arguments.samples] for part in train)
    parts = split_validation(*train, arguments.validation)
    open_output(arguments, describe_run(arguments, recipe))
    if arguments.deterministic:
        make_deterministic()
    keras.config.set_dtype_policy(recipe.dtype_policy)
    keras.utils.set_random_seed(arguments.seed)

    classifier = build_network(recipe, arguments.dataset)
    steps = max(1, len(parts[0][0]) // recipe.batch_size) * recipe.epochs
    epsilon = DATASETS[arguments.dataset].epsilons[0]
    model = make_trained(classifier, recipe, steps, epsilon)
    print(f"{arguments.recipe}: {classifier.count_params():,} parameters")
    start, times = fit(model, recipe, arguments, parts)
    settle(model)
    estimates = estimate_constants(model)
    classifier = finish(classifier, recipe, arguments.dataset)
    replace_file(arguments.output / "model.keras", classifier.save)

    held_out = test if not arguments.validation else parts[1]
    report = evaluate(classifier, arguments.dataset, held_out, arguments)
    print(report)
    for name in ("report.html", "report.json"):
        report.save(arguments.output / name, overwrite=True)
    result = {
        "recipe": arguments.recipe,
        "dataset": arguments.dataset,
        "part": "validation" if arguments.validation else "test",
        "command": "python " + shlex.join(sys.argv),
        "changes": arguments.changes,
        "seed": arguments.seed,
        "epochs": recipe.epochs,
        "samples": len(parts[0][0]),
        "validation": arguments.validation,
        "dtype_policy": recipe.dtype_policy,
        "resumed_after": start,
        **times,
        "hardware": describe_hardware(),
        "backend": keras.backend.backend(),
        "parameters": classifier.count_params(),
        "lipschitz_bound": report.lipschitz_bound,
        # The largest constant of a margin: proven, and estimated by the loss.
        "margin_bound": float(report.audit.pair_bounds.matrix.max()),
        "margin_estimate": None
        if estimates is None
        else float(estimates.max()),
        "sha256": report.audit.sha256,
        "clean": report.accuracy,
        "certified": {
            f"{epsilon:.4g}": report.certified_accuracy(epsilon)
            for epsilon in DATASETS[arguments.dataset].epsilons
        },
        "attacked": {
            f"{epsilon:.4g}": float(np.round(accuracy, 6))
            for column in report.attacks.values()
            for epsilon, accuracy in column.items()
        },
        "attack_steps": arguments.attack_steps,
        "attacked_samples": min(arguments.attacked_samples, len(held_out[0])),
        "paper": recipe.paper,
    }
    write_json(arguments.output / "result.json", result)
    print(f"Written to {arguments.output}/")


if __name__ == "__main__":
    main()
