"""Data sets of images, and batches of them that can be taken up again."""

import dataclasses
import functools
import importlib.util
import pathlib

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class ImageDataset:
    """What is known of a data set.

    Args:
        classes: Number of classes.
        shape: Height, width and channels of an image.
        mean: Mean of each channel over the training part, pixels in [0, 1].
        stddev: Standard deviation of each channel.
        epsilons: Radii, in the l2 norm, that papers certify.
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
    """Loads a data set whole.

    Args:
        name: A key of `DATASETS`.
        data_dir: Folder that holds `NAME.npz`, of arrays `x_train`, `y_train`,
            `x_test` and `y_test`, or what TensorFlow Datasets has prepared.
            Defaults to the latter's own folder.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images of `uint8` and shape
        `(number, *shape)`, and labels of `int64`.

    Raises:
        SystemExit: If a package is missing, or what is found does not fit.
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
            f"{file} must hold arrays {', '.join(keys)}. "
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
            f"The data set {name!r} comes by TensorFlow Datasets: "
            'pip install "keras-lip[data]". Or pass --data-dir, a folder that '
            f"holds {name}.npz"
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
            f"{name} must hold images of shape {shape} and `uint8`, and as "
            f"many labels. Received: images of shape {images.shape} and "
            f"`{images.dtype}`, labels of shape {labels.shape}"
        )
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= classes:
        raise SystemExit(
            f"{name} must hold labels from 0 to {classes - 1}, and one or more."
        )
    return images, labels


def scale_images(images):
    """Returns pixels in [0, 1]."""
    return images.astype("float32") / 255


class ImageBatches(keras.utils.PyDataset):
    """Batches in a new order every epoch, which the seed alone decides.

    A run that starts at a later epoch sees the batches that a whole run would
    have seen. Samples that fill no batch are left out, others every epoch.

    Args:
        images: Array of `uint8`.
        labels: Array of labels.
        batch_size: Number of samples of a batch.
        seed: Integer.
        first_epoch: Epoch to start at.
        crop: By how many pixels, at most, images are moved along each axis.
            What comes in is black.
        flip: Whether one of two images is mirrored.
        cutout: Side of the square that is blackened in each image, in pixels.
        outputs: Names of the outputs of the model that take the labels; none if
            it has a single one.
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
        cutout=0,
        outputs=(),
    ):
        super().__init__()
        self.images, self.labels = images, labels
        self.batch_size = min(batch_size, len(images))
        self.seed, self.epoch = seed, first_epoch
        self.crop, self.flip, self.cutout = crop, flip, cutout
        self.outputs = outputs

    def __len__(self):
        return len(self.images) // self.batch_size

    def __getitem__(self, index):
        images, labels = self.get(self.epoch, index)
        return images, self.spread(labels)

    def on_epoch_end(self):
        self.epoch += 1

    def spread(self, labels):
        """Returns labels as the outputs of the model take them."""
        return dict.fromkeys(self.outputs, labels) if self.outputs else labels

    def get(self, epoch, index):
        """Returns a batch of an epoch: images in [0, 1], and labels."""
        order = draw_order(self.seed, epoch, len(self.images))
        start = index * self.batch_size
        chosen = order[start : start + self.batch_size]
        rng = np.random.default_rng((self.seed, epoch, index))
        images = move(self.images[chosen], self.crop, rng)
        if self.flip:
            mirrored = rng.random(len(images)) < 0.5
            images[mirrored] = images[mirrored, :, ::-1]
        if self.cutout:
            images = cut_out(images, self.cutout, rng)
        return scale_images(images), self.labels[chosen]


@functools.lru_cache(maxsize=2)
def draw_order(seed, epoch, number):
    """Returns the order of samples in an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(number)


def move(images, pixels, rng):
    """Moves images by up to some pixels along both axes, each by its own."""
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


def cut_out(images, side, rng):
    """Blackens a square of each image, whose center is any of its pixels."""
    number, height, width, _ = images.shape
    rows = rng.integers(0, height, (number, 1))
    columns = rng.integers(0, width, (number, 1))

    def is_inside(center, size):
        # Half of the square on either side of the center.
        distances = np.arange(size) - center + side // 2
        return (distances >= 0) & (distances < side)

    hidden = (
        is_inside(rows, height)[:, :, None]
        & is_inside(columns, width)[:, None, :]
    )
    return np.where(hidden[..., None], images.dtype.type(0), images)


def to_pipeline(batches, epochs):
    """Returns batches as a `tf.data.Dataset` that works ahead.

    Where TensorFlow is missing they are returned as they are.

    Args:
        batches: An `ImageBatches`.
        epochs: At which epoch training ends.
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
