"""Data sets of images, and batches that can be resumed at any epoch."""

import dataclasses
import functools
import importlib.util
import pathlib
import threading

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class ImageDataset:
    """Properties of a data set.

    Args:
        classes: Number of classes.
        shape: Height, width and channels of an image.
        mean: Mean of each channel in the training set, with pixels in [0, 1].
        stddev: Standard deviation of each channel.
        epsilons: l2 radii at which papers report certified accuracies.
    """

    classes: int
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    stddev: tuple[float, ...]
    epsilons: tuple[float, ...]


_MNIST_EPSILONS = (0.1, 0.3, 0.5, 1.0, 1.58)
_CIFAR_EPSILONS = (36 / 255, 72 / 255, 108 / 255, 1.0)

DATASETS = {
    "digits": ImageDataset(
        10, (8, 8, 1), (0.3053,), (0.3760,), (0.1, 0.3, 0.5, 1.0)
    ),
    "mnist": ImageDataset(
        10, (28, 28, 1), (0.1307,), (0.3081,), _MNIST_EPSILONS
    ),
    "fashion_mnist": ImageDataset(
        10, (28, 28, 1), (0.2860,), (0.3530,), _MNIST_EPSILONS
    ),
    "cifar10": ImageDataset(
        10,
        (32, 32, 3),
        (0.4914, 0.4822, 0.4465),
        (0.2470, 0.2435, 0.2616),
        _CIFAR_EPSILONS,
    ),
    "cifar100": ImageDataset(
        100,
        (32, 32, 3),
        (0.5071, 0.4865, 0.4409),
        (0.2673, 0.2564, 0.2762),
        _CIFAR_EPSILONS,
    ),
}


def load_images(name, data_dir=None):
    """Loads a whole data set.

    The data set `"digits"` comes from scikit-learn, unless there is a file.

    Args:
        name: A key of `DATASETS`.
        data_dir: Folder with `NAME.npz`, which contains the arrays `x_train`,
            `y_train`, `x_test` and `y_test`, or with the prepared data of
            TensorFlow Datasets. Defaults to the latter's default folder.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images of dtype `uint8` and
        shape `(number, *shape)`, and labels of dtype `int64`.

    Raises:
        SystemExit: If the name is unknown, TensorFlow Datasets is missing, or
            the data is invalid.
    """
    if name not in DATASETS:
        raise SystemExit(
            f"The data set must be one of {', '.join(DATASETS)}. "
            f"Received: {name!r}"
        )
    file = pathlib.Path(data_dir or ".") / f"{name}.npz"
    if data_dir is not None and file.exists():
        with np.load(file) as arrays:
            parts = _read_npz(file, arrays)
    elif name == "digits":
        parts = _load_digits()
    else:
        parts = _load_tfds(name, data_dir)
    return tuple(_check_part(name, *part) for part in parts)


def _read_npz(file, arrays):
    keys = ("x_train", "y_train", "x_test", "y_test")
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise SystemExit(
            f"{file} must contain the arrays {', '.join(keys)}. "
            f"Missing: {', '.join(missing)}"
        )
    return (
        (arrays["x_train"], arrays["y_train"]),
        (arrays["x_test"], arrays["y_test"]),
    )


def _load_digits():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    # As all images of recipes: 17 levels of gray are rounded to bytes.
    images = np.round(images / 16 * 255).astype("uint8").reshape(-1, 8, 8, 1)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=0.25, stratify=labels, random_state=0
    )
    return (x_train, y_train), (x_test, y_test)


def _load_tfds(name, data_dir):
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise SystemExit(
            f"The data set {name!r} is loaded with TensorFlow Datasets: "
            'pip install "keras-lip[data]". Or pass --data-dir, a folder with '
            f"{name}.npz."
        ) from error
    parts = tfds.load(
        name,
        split=["train", "test"],
        batch_size=-1,
        as_supervised=True,
        data_dir=data_dir,
    )
    return tuple(tfds.as_numpy(part) for part in parts)


def _check_part(name, images, labels):
    images, labels = np.asarray(images), np.asarray(labels).astype("int64")
    shape, classes = DATASETS[name].shape, DATASETS[name].classes
    if images.ndim == 3:
        images = images[..., None]
    fits = images.shape[1:] == shape and images.dtype == np.uint8
    if not fits or labels.shape != images.shape[:1]:
        raise SystemExit(
            f"{name} must hold images of shape {shape} and dtype `uint8`, and "
            f"as many labels. Received: images of shape {images.shape} and "
            f"dtype `{images.dtype}`, labels of shape {labels.shape}"
        )
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= classes:
        raise SystemExit(
            f"{name} must hold at least one label, and only labels from 0 to "
            f"{classes - 1}."
        )
    return images, labels


def scale_images(images):
    """Scales pixels to [0, 1]."""
    return images.astype("float32") / 255


class ImageBatches(keras.utils.PyDataset):
    """Batches in a new order every epoch, which depends only on the seed.

    A run that is resumed at a later epoch gets the same batches as a run
    without interruption. Samples that do not fill a last batch are left out of
    the epoch. They are different ones in every epoch.

    Args:
        images: Array of dtype `uint8`.
        labels: Array of labels.
        batch_size: Number of samples in a batch.
        seed: Integer.
        first_epoch: Epoch to start at.
        crop: Largest number of pixels by which an image is moved along each
            axis. The pixels that move in are black.
        flip: Whether an image is mirrored with a probability of one half.
        rand_augment: Arguments of `keras.layers.RandAugment`, such as `num_ops`
            and `factor`. Defaults to `None`, for no such augmentation.
        cutout: Side, in pixels, of a square that is blackened in each image.
        outputs: Names of the model's outputs that take the labels. Empty for a
            model with a single output.
    """

    def __init__(
        self,
        images,
        labels,
        batch_size,
        seed,
        first_epoch=0,
        crop=0,
        flip=False,
        rand_augment=None,
        cutout=0,
        outputs=(),
    ):
        super().__init__()
        self.images, self.labels = images, labels
        self.batch_size = min(batch_size, len(images))
        self.seed, self.epoch = seed, first_epoch
        self.crop, self.flip, self.cutout = crop, flip, cutout
        self.augment = (
            SeededRandAugment(**rand_augment) if rand_augment else None
        )
        self.outputs = outputs

    def __len__(self):
        return len(self.images) // self.batch_size

    def __getitem__(self, index):
        images, labels = self.get(self.epoch, index)
        return images, self.spread(labels)

    def on_epoch_end(self):
        self.epoch += 1

    def spread(self, labels):
        """Returns the labels for each output of the model."""
        return dict.fromkeys(self.outputs, labels) if self.outputs else labels

    def get(self, epoch, index):
        """Returns a batch of an epoch: images in [0, 1] and labels."""
        order = draw_order(self.seed, epoch, len(self.images))
        start = index * self.batch_size
        chosen = order[start : start + self.batch_size]
        rng = np.random.default_rng((self.seed, epoch, index))
        images = move(self.images[chosen], self.crop, rng)
        if self.flip:
            mirrored = rng.random(len(images)) < 0.5
            images[mirrored] = images[mirrored, :, ::-1]
        if self.augment is not None:
            images = self.augment(images, rng)
        if self.cutout:
            images = cut_out(images, self.cutout, rng)
        return scale_images(images), self.labels[chosen]


@functools.lru_cache(maxsize=2)
def draw_order(seed, epoch, number):
    """Returns the order of the samples in an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(number)


def move(images, pixels, rng):
    """Moves each image along both axes by up to the given number of pixels."""
    if pixels == 0:
        return images
    number, height, width, _ = images.shape
    margin = (pixels, pixels)
    images = np.pad(images, ((0, 0), margin, margin, (0, 0)))
    rows, columns = rng.integers(0, 2 * pixels + 1, (2, number, 1))
    rows = (rows + np.arange(height))[:, :, None, None]
    columns = (columns + np.arange(width))[:, None, :, None]
    images = np.take_along_axis(images, rows, axis=1)
    return np.take_along_axis(images, columns, axis=2)


class SeededRandAugment:
    """Keras's RandAugment, with its randomness from a given generator.

    Keras applies the same operations to all images of a batch.

    Args:
        num_ops: Number of operations in a row. Defaults to `2`.
        factor: Strength of the operations, from 0 to 1. Defaults to `0.5`.

    Reference:

    - [Cubuk et al., 2019](https://arxiv.org/abs/1909.13719)
    """

    def __init__(self, num_ops=2, factor=0.5):
        self.layer = keras.layers.RandAugment(
            num_ops=num_ops, factor=factor, seed=0
        )
        # Several threads prepare batches, and share the state of the layer.
        self.lock = threading.Lock()

    def __call__(self, images, rng):
        with self.lock:
            state = self.layer.generator.state
            state.assign(rng.integers(0, 2**31, state.shape))
            augmented = self.layer(images.astype("float32"), training=True)
        augmented = np.rint(keras.ops.convert_to_numpy(augmented))
        return np.clip(augmented, 0, 255).astype("uint8")


def cut_out(images, side, rng):
    """Blackens a square around a random pixel of each image."""
    number, height, width, _ = images.shape
    rows = rng.integers(0, height, (number, 1))
    columns = rng.integers(0, width, (number, 1))

    def is_inside(center, size):
        # The center lies in the middle of the square.
        distances = np.arange(size) - center + side // 2
        return (distances >= 0) & (distances < side)

    hidden = (
        is_inside(rows, height)[:, :, None]
        & is_inside(columns, width)[:, None, :]
    )
    return np.where(hidden[..., None], images.dtype.type(0), images)


def to_pipeline(batches, epochs):
    """Returns batches as a `tf.data.Dataset` that is prepared in advance.

    If TensorFlow is not installed, the batches are returned unchanged.

    Args:
        batches: An `ImageBatches`.
        epochs: Integer. Epoch at which training ends.
    """
    if importlib.util.find_spec("tensorflow") is None:
        return batches
    import tensorflow as tf

    steps, shape = len(batches), batches.images.shape[1:]

    def load(step):
        return batches.get(int(step) // steps, int(step) % steps)

    def prepare(step):
        images, labels = tf.numpy_function(load, [step], ("float32", "int64"))
        images.set_shape((batches.batch_size, *shape))
        labels.set_shape((batches.batch_size,))
        return images, batches.spread(labels)

    return (
        tf.data.Dataset.range(batches.epoch * steps, epochs * steps)
        .map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
    )
