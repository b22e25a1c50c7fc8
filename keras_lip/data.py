"""Converts inputs and labels of any kind to validated NumPy arrays."""

import itertools
import reprlib
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.types import Array
from keras_lip.validation import check_integer
from keras_lip.validation import check_numbers

Bounds = tuple[float, float]
Shard = tuple[int, int]


def iterate_batches(
    model: keras.Model,
    x: Any,
    y: Any,
    batch_size: int,
    shard: Shard | None = None,
) -> Iterator[tuple[Array, Array | None]]:
    """Yields batches of inputs and labels.

    Args:
        model: The model that receives the inputs.
        x: Array of inputs; or an iterable of batches, `inputs` or
            `(inputs, labels)`, such as a `tf.data.Dataset`, a
            `keras.utils.PyDataset` or a PyTorch `DataLoader`.
        y: Array of labels, or `None` if `x` is an iterable that contains the
            labels.
        batch_size: Positive integer. Number of samples of a batch of an array.
        shard: Pair `(index, count)`, for every `count`th batch from batch
            `index`. Defaults to `None`, for all batches.

    Yields:
        Tuples of `inputs` and `labels`, the latter `None` if there are none.

    Raises:
        ValueError: If there are no samples or a batch is empty, an input is not
            finite or has the wrong shape, or the numbers of inputs and labels
            differ.
    """
    start = 0
    shape = getattr(model, "input_shape", None)
    index, count = shard or (0, 1)
    for inputs, labels in _iterate(x, y, batch_size, shape, index, count):
        inputs = _to_numpy(inputs)
        _check_inputs(inputs, shape)
        labels = None if labels is None else _to_numpy(labels, "y")
        if labels is not None and len(labels) != len(inputs):
            raise ValueError(
                "There must be one label for each input. Received: "
                f"{len(inputs)} inputs and {len(labels)} labels"
            )
        if not len(inputs):
            raise ValueError(
                "Every batch must contain a sample: leave out empty batches. "
                f"Received: a batch of shape {inputs.shape} after {start} "
                "samples"
            )
        finite = np.isfinite(inputs.reshape(len(inputs), -1)).all(axis=1)
        if not finite.all():
            place = "" if shard is None else f" of shard {shard}"
            raise ValueError(
                "Inputs must be finite numbers to be certified. Received: NaN "
                f"or infinity in sample {start + int(np.argmin(finite))}{place}"
            )
        start += len(inputs)
        yield inputs, labels
    if start == 0 and shard is not None:
        raise ValueError(
            "Every shard must contain a batch. Use fewer shards, or smaller "
            f"batches. Received: no batch for shard={shard}"
        )
    if start == 0:
        raise ValueError(
            "There must be at least one sample to certify. Received: none"
        )


def count_batches(
    x: Any, batch_size: Any, shard: Shard | None = None
) -> int | None:
    """Returns the number of batches that `iterate_batches` yields.

    It is `None` if the number is unknown or an argument is invalid.
    """
    number = count_samples(x)
    if isinstance(x, keras.utils.PyDataset):
        total = len(x)
    elif number is None or not isinstance(batch_size, int) or batch_size < 1:
        return None
    else:
        total = -(-number // batch_size)
    index, count = shard or (0, 1)
    return len(range(index, total, count))


def count_samples(x: Any) -> int | None:
    """Returns the number of samples, or `None` if `x` is not an array."""
    is_dataset = isinstance(x, keras.utils.PyDataset)
    if is_dataset or not (
        hasattr(x, "__array__") or isinstance(x, list | tuple)
    ):
        return None
    if isinstance(x, list | tuple):
        return len(_to_numpy(x))
    return len(x) if np.ndim(x) else 0


def find_batch_size(
    x: Any, batch_size: int, shard: Shard | None = None
) -> tuple[Any, int | None]:
    """Finds the size of all batches of the data but the last one.

    It is the size of the first batch, which a shard may not contain.

    Args:
        x: Array of inputs, or an iterable of batches, as in `iterate_batches`.
        batch_size: Positive integer. Number of samples of a batch of an array.
        shard: Pair `(index, count)`, or `None` for all batches.

    Returns:
        Tuple of `x`, or of an iterator with its batches if they can be read
        only once, and of the size: `None` if it is unknown, which it is for an
        iterable without a shard.
    """
    if isinstance(x, keras.utils.PyDataset):
        return x, _size(x[0]) if shard is not None and len(x) else None
    if count_samples(x) is not None:
        return x, batch_size
    is_iterable = isinstance(x, Iterable) and not isinstance(x, str | dict)
    if shard is None or not is_iterable:
        return x, None
    batches = iter(x)
    first = list(itertools.islice(batches, 1))
    return itertools.chain(first, batches), _size(first[0]) if first else None


def _size(batch: Any) -> int | None:
    inputs = _to_numpy(_unpack(batch)[0])
    return len(inputs) if inputs.ndim else None


def _iterate(
    x: Any, y: Any, batch_size: int, shape: Any, index: int, count: int
) -> Iterator[tuple[Any, Any]]:
    if isinstance(x, keras.utils.PyDataset):
        _refuse_labels(x, y)
        # The iterator of a `PyDataset` may shuffle and never end.
        for position in range(index, len(x), count):
            yield _unpack(x[position])
    elif hasattr(x, "__array__") or isinstance(x, list | tuple):
        inputs = _to_numpy(x)
        _check_inputs(inputs, shape)
        labels = None if y is None else np.atleast_1d(_to_numpy(y, "y"))
        if labels is not None and len(labels) != len(inputs):
            raise ValueError(
                "`x` and `y` must have the same length. Received: "
                f"{len(inputs)} inputs and {len(labels)} labels"
            )
        first, step = index * batch_size, count * batch_size
        for begin in range(first, len(inputs), step):
            part = slice(begin, begin + batch_size)
            yield inputs[part], None if labels is None else labels[part]
    elif isinstance(x, Iterable) and not isinstance(x, str | dict):
        _refuse_labels(x, y)
        yield from map(_unpack, itertools.islice(x, index, None, count))
    else:
        raise TypeError(
            "`x` must be an array, or an iterable of batches. Received: "
            f"{x!r} of type `{type(x).__name__}`"
        )


def _refuse_labels(x: Any, y: Any) -> None:
    if y is not None:
        raise ValueError(
            f"`y` must be `None` if `x` is a `{type(x).__name__}`, which "
            "contains the labels."
        )


def _unpack(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, list | tuple):
        if len(batch) > 2 and batch[2] is not None:
            _check_weights(batch[2])
        return batch[0], batch[1] if len(batch) > 1 else None
    return batch, None


def _check_inputs(inputs: Array, shape: Any) -> None:
    """Raises an error for inputs that a model with one input cannot take."""
    if inputs.dtype.kind in "cmMOSU":
        raise ValueError(
            "Inputs must be real numbers. Received: an array of dtype "
            f"{inputs.dtype}"
        )
    if not isinstance(shape, tuple) or _fits(inputs.shape, shape):
        return
    advice = ""
    if _fits((1, *inputs.shape), shape):
        advice = (
            " A sample needs a batch axis, `x[None]`, and a data set its "
            "`batch(...)`."
        )
    raise ValueError(
        f"Inputs must have shape {('batch', *shape[1:])}.{advice} Received: "
        f"inputs of shape {inputs.shape}"
    )


def _fits(shape: Any, expected: Any) -> bool:
    return len(shape) == len(expected) and all(
        wanted in (None, size)
        for size, wanted in zip(shape[1:], expected[1:], strict=True)
    )


def _check_weights(weights: Any) -> None:
    """Raises an error unless all samples have the weight one."""
    arrays = keras.tree.flatten(weights)
    if any(np.any(_to_numpy(w, "sample_weight") != 1) for w in arrays):
        raise ValueError(
            "Every sample counts once in a certificate. Yield batches "
            "`(inputs, labels)`, without the samples of weight zero. Received: "
            f"sample weights {reprlib.repr(weights)}"
        )


def _to_numpy(array: Any, name: str = "x") -> Array:
    try:
        if not isinstance(array, list | tuple):
            array = ops.convert_to_numpy(array)
        return np.asarray(array)
    except (TypeError, ValueError):
        raise ValueError(
            f"`{name}` must be an array of numbers, all samples of one shape. "
            "Pass labels on their own, and batches as a generator or a data "
            f"set. Received: {name}={reprlib.repr(array)}"
        ) from None


def check_shard(shard: Any) -> Shard | None:
    """Validates a shard, and returns it as a pair of integers, or `None`.

    Args:
        shard: Pair `(index, count)`, or `None`.

    Raises:
        ValueError: If it is not an index from zero and a larger count.
    """
    if shard is None:
        return None
    try:
        index, count = (check_integer("shard", each) for each in shard)
    except (TypeError, ValueError):
        index, count = -1, 0
    if not 0 <= index < count:
        raise ValueError(
            "`shard` must be a pair `(index, count)` of integers, with `0 <= "
            f"index < count`. Received: shard={shard!r}"
        )
    return index, count


def check_bounds(bounds: Bounds) -> Bounds:
    """Validates bounds, and returns them as floats.

    Args:
        bounds: Pair of the smallest and largest value of an input entry.

    Raises:
        ValueError: If they are not two numbers in increasing order.
    """
    try:
        low, high = check_numbers("bounds", bounds)
    except (TypeError, ValueError):
        low, high = 1.0, 0.0
    if low > high:
        raise ValueError(
            "`bounds` must be the smallest and the largest value of an input "
            f"entry, such as `(0, 1)`. Received: bounds={bounds!r}"
        )
    return low, high


def check_inside(inputs: Array, bounds: Bounds) -> None:
    """Raises an error for inputs outside bounds.

    Args:
        inputs: Array.
        bounds: Pair of the smallest and largest value of an entry.

    Raises:
        ValueError: If an entry is outside the bounds.
    """
    if np.min(inputs) < bounds[0] or np.max(inputs) > bounds[1]:
        raise ValueError(
            f"Inputs must lie within `bounds`. Received: bounds={bounds}, "
            f"inputs from {np.min(inputs)} to {np.max(inputs)}"
        )
