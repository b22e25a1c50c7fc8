"""The data sets of the search command, in three parts."""

import dataclasses
from typing import Any

import numpy as np

from keras_lip.validation import check_known

DATASETS = ("digits", "mnist", "fashion_mnist", "cifar10")
_VALIDATION_SHARE = 0.25
_VALIDATION_SAMPLES = 5000


@dataclasses.dataclass(frozen=True)
class Data:
    """Images in [0, 1] and class indices, to train on, to choose by, to report.

    Args:
        x_train: Array of shape `(num_samples, height, width, channels)`.
        y_train: Integer array of shape `(num_samples,)`.
        x_val: Images of the validation part, which a search maximizes on.
        y_val: Labels of the validation part.
        x_test: Images of the held-out part, which only the report sees.
        y_test: Labels of the held-out part.
    """

    x_train: Any
    y_train: Any
    x_val: Any
    y_val: Any
    x_test: Any
    y_test: Any

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.y_train.max()) + 1

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return tuple(self.x_train.shape[1:])


def load_data(name: str, seed: int = 0) -> Data:
    """Loads a data set.

    The held-out part is the data set's own test part; of the digits, the
    quarter that the quick start holds out. A quarter of the rest, but no more
    than 5000 images, is the validation part, with the classes in equal shares.

    Args:
        name: One of `DATASETS`.
        seed: Integer. Seed of the validation part.

    Returns:
        A `Data`.

    Raises:
        ValueError: If the name is unknown.
        ImportError: If scikit-learn, or TensorFlow Datasets for any data set
            but the digits, is not installed.
    """
    check_known("dataset", name, DATASETS)
    try:
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise _missing("scikit-learn", "tuning") from error
    (x, y), (x_test, y_test) = (
        _load_digits() if name == "digits" else _load_by_tfds(name)
    )
    x_train, x_val, y_train, y_val = train_test_split(
        x,
        y,
        test_size=min(int(_VALIDATION_SHARE * len(x)), _VALIDATION_SAMPLES),
        stratify=y,
        random_state=seed,
    )
    return Data(x_train, y_train, x_val, y_val, x_test, y_test)


def _load_digits() -> Any:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        (images / 16).astype("float32").reshape(-1, 8, 8, 1),
        labels,
        test_size=0.25,
        stratify=labels,
        random_state=0,
    )
    return (x, y), (x_test, y_test)


def _load_by_tfds(name: str) -> Any:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise _missing("tensorflow-datasets", "data") from error
    parts = tfds.load(
        name, split=["train", "test"], batch_size=-1, as_supervised=True
    )
    return tuple(
        (np.asarray(images, "float32") / 255, np.asarray(labels, "int64"))
        for images, labels in map(tfds.as_numpy, parts)
    )


def _missing(package: str, extra: str) -> ImportError:
    return ImportError(
        f"This needs `{package}`. Install the extra `{extra}`: "
        f'pip install "keras-lip[{extra}]"'
    )
