"""# Train, certify and ship a robust network

A network whose Lipschitz constant is known comes with a proof: for every input
it says how far the input can be moved, in any direction, before the predicted
class may change. This script trains such a network on real data, proves its
robustness, lets a real attack check the proof, and writes

- `model.keras`, the network, which loads wherever `keras_lip` is installed,
- `stock_model.keras`, the same function made of `keras.layers` alone,
- `report.html`, `report.json` and `certified_accuracy.png`. The page shows as
  well what the network looks at, beside an ordinary one.

    python examples/quickstart.py                     # 8x8 digits, two minutes
    python examples/quickstart.py --dataset mnist     # by TensorFlow Datasets
"""

import argparse
import pathlib

import keras
import numpy as np

import keras_lip as kl

RADII = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
CERTIFIED = "certified"
ATTACKED = "attacked"
TWIN = "ordinary twin, attacked"

"""
## The data

Pixels are in [0, 1] and stay as they are: a normalization would stretch
perturbations, and count in the Lipschitz constant. A quarter of the digits is
held out, with the classes in equal shares; the other data sets bring a test
part of their own.
"""


def load_data(name, split):
    """Returns `(x_train, y_train), (x_test, y_test)`."""
    if name == "digits":
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        x_train, x_test, y_train, y_test = train_test_split(
            (images / 16).astype("float32").reshape(-1, 8, 8, 1),
            labels,
            test_size=0.25,
            stratify=labels,
            random_state=split,
        )
        return (x_train, y_train), (x_test, y_test)
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise SystemExit(
            f"The data set {name!r} comes by TensorFlow Datasets: "
            'pip install "keras-lip[data]"'
        ) from error
    parts = tfds.load(
        name, split=["train", "test"], batch_size=-1, as_supervised=True
    )
    return tuple(
        (np.asarray(images, "float32") / 255, np.asarray(labels, "int64"))
        for images, labels in map(tfds.as_numpy, parts)
    )


class NoisyImages(keras.utils.PyDataset):
    """Batches in a new order, and with new Gaussian noise, every epoch."""

    def __init__(self, x, y, batch_size, stddev, seed):
        super().__init__()
        self.x, self.y = x, y
        self.batch_size, self.stddev = batch_size, stddev
        self.rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self.x) // self.batch_size)

    def __getitem__(self, index):
        start = index * self.batch_size
        chosen = self.order[start : start + self.batch_size]
        noise = self.rng.normal(0, self.stddev, self.x[chosen].shape)
        return (self.x[chosen] + noise).astype("float32"), self.y[chosen]

    def on_epoch_end(self):
        self.order = self.rng.permutation(len(self.x))


"""
## The network

Every layer is 1-Lipschitz: the kernels of `OrthogonalDense` are orthogonal,
and `MaxMin` permutes. The last layer, `UnitNormDense`, is certified by the
distances between its weights, which loses nothing. Kernels this small can
afford Björck's iteration, which trains to larger margins here than the default,
the cheaper Cayley transform.
"""


def make_network(input_shape, classes, units, depth):
    """Returns a network of which every layer's bound is proven."""
    network = [keras.Input(input_shape), keras.layers.Flatten()]
    for _ in range(depth):
        network.append(
            kl.layers.OrthogonalDense(units, parametrization="bjorck")
        )
        network.append(kl.layers.MaxMin())
    network.append(kl.layers.UnitNormDense(classes))
    return kl.models.LipschitzSequential(network, name="robust")


def make_twin(input_shape, classes, units, depth):
    """Returns the same network without constraints, to compare with."""
    network = [keras.Input(input_shape), keras.layers.Flatten()]
    for _ in range(depth):
        network += [keras.layers.Dense(units), kl.layers.MaxMin()]
    network.append(keras.layers.Dense(classes))
    return keras.Sequential(network, name="twin")


"""
## Training

The temperature of the crossentropy trades accuracy for robustness: a low one
asks for wide margins (Béthune et al., 2022). The rate of learning rises for a
twentieth of the steps, then falls along a cosine to zero.
"""


def train(model, data, loss, learning_rate, epochs, metrics):
    """Trains a model, with Keras's progress bar."""
    steps = epochs * len(data)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=learning_rate / 100,
        warmup_target=learning_rate,
        warmup_steps=max(1, steps // 20),
        decay_steps=steps,
    )
    model.compile(keras.optimizers.Adam(schedule), loss, metrics=metrics)
    model.fit(data, epochs=epochs, verbose="auto")


"""
## The proof, and its check

`audit` measures the bound of every layer on the trained weights, in float64 and
rounded up, and sets an estimate from below beside it. The certified accuracy
lies below the accuracy under any attack: were one attack to go under it, the
certificate would be false.
"""


def format_table(clean, columns):
    """Returns the accuracies as lines of text, a row for each radius."""
    titles = "".join(f"{title:>26}" for title in columns)
    lines = [f"{'radius (l2)':<12}{titles}"]
    for radius in (0.0, *RADII):
        label = "clean" if radius == 0 else f"{radius:g}"
        cells = (
            clean[title] if radius == 0 else column[radius]
            for title, column in columns.items()
        )
        row = "".join(f"{cell:>26.1%}" for cell in cells)
        lines.append(f"{label:<12}{row}")
    return "\n".join(lines)


def parse_arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Train, certify and ship.")
    parser.add_argument(
        "--dataset",
        choices=("digits", "mnist", "fashion_mnist", "cifar10"),
        default="digits",
    )
    parser.add_argument("--split", type=int, default=0, help="of the digits")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--units", type=int)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--temperature", type=float, default=4.0)
    parser.add_argument("--learning-rate", type=float, default=0.06)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--attacked-samples", type=int, default=500)
    parser.add_argument("--output", type=pathlib.Path, default="quickstart")
    parser.add_argument("--smoke", action="store_true", help="one epoch")
    arguments = parser.parse_args()
    digits = arguments.dataset == "digits"
    arguments.epochs = arguments.epochs or (100 if digits else 20)
    arguments.units = arguments.units or (192 if digits else 256)
    if arguments.smoke:
        arguments.epochs, arguments.attacked_samples = 1, 20
        arguments.units, arguments.depth = 16, 1
    return arguments


def main():
    """Trains, certifies, attacks and writes."""
    arguments = parse_arguments()
    keras.utils.set_random_seed(arguments.seed)
    (x_train, y_train), (x_test, y_test) = load_data(
        arguments.dataset, arguments.split
    )
    shape, classes = x_train.shape[1:], int(y_train.max()) + 1
    data = NoisyImages(
        x_train, y_train, 64, arguments.noise, seed=arguments.seed
    )

    print(f"Training a certified network on {arguments.dataset} ...")
    model = make_network(shape, classes, arguments.units, arguments.depth)
    train(
        model,
        data,
        kl.losses.TemperatureSparseCategoricalCrossentropy(
            arguments.temperature
        ),
        learning_rate=arguments.learning_rate,
        epochs=arguments.epochs,
        metrics=["accuracy", kl.metrics.CertifiedAccuracy(0.3)],
    )

    print("Training an ordinary twin ...")
    keras.utils.set_random_seed(arguments.seed)
    twin = make_twin(shape, classes, arguments.units, arguments.depth)
    train(
        twin,
        NoisyImages(x_train, y_train, 64, stddev=0.0, seed=arguments.seed),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        learning_rate=0.1,
        epochs=max(1, 3 * arguments.epochs // 10),
        metrics=["accuracy"],
    )

    print("Certifying, and attacking ...")
    audit = kl.certificates.audit(model)
    report = kl.certificates.certify(model, x_test, y_test, RADII, audit=audit)
    attacked = slice(0, arguments.attacked_samples)
    if len(x_test) > arguments.attacked_samples:
        print(f"(attacks see the first {arguments.attacked_samples} samples)")
    for title, target in ((ATTACKED, model), (TWIN, twin)):
        report.attacks[title] = kl.certificates.attacked_accuracy(
            target, x_test[attacked], y_test[attacked], RADII
        )
    certified = {radius: report.certified_accuracy(radius) for radius in RADII}
    twin_accuracy = twin.evaluate(x_test, y_test, verbose=0, return_dict=True)
    clean = {
        CERTIFIED: report.accuracy,
        ATTACKED: report.accuracy,
        TWIN: twin_accuracy["accuracy"],
    }
    print(format_table(clean, {CERTIFIED: certified, **report.attacks}))
    print(f"Lipschitz bound, proven: {report.lipschitz_bound:.7f}")

    # One image of each of the first four classes.
    _, shown = np.unique(y_test, return_index=True)
    report.saliency = kl.explanations.saliency_maps(
        model, x_test[shown[:4]], ordinary=twin
    )

    output = pathlib.Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    model.save(output / "model.keras")
    kl.models.materialize(model).save(output / "stock_model.keras")
    for name in ("report.html", "report.json", "certified_accuracy.png"):
        report.save(output / name, overwrite=True)
    names = ", ".join(sorted(path.name for path in output.iterdir()))
    print(f"Written to {output}/: {names}")


if __name__ == "__main__":
    main()
