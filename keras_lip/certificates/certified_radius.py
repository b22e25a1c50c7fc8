"""The certified radius of each prediction."""

from typing import Any

import keras
import numpy as np

from keras_lip.certificates.certifier import Certifier


def certified_radius(
    model: keras.Model,
    x: Any,
    batch_size: int = 256,
    norm: str | None = None,
) -> Any:
    """Returns the certified radius of each input.

    See `keras_lip.certificates.certify` for the theorem and its assumptions.

    Args:
        model: A built classifier with one input and one output of shape
            `(batch_size, classes)` or `(batch_size, 1)`.
        x: Array of inputs, or an iterable of batches.
        batch_size: Positive integer. Number of samples evaluated at a time.
            Defaults to `256`.
        norm: `"l2"` or `"linf"`. Defaults to `None`, for the norm in which all
            layers have a bound, or l2 if they have bounds in both.

    Returns:
        Float64 array of shape `(num_samples,)`. Every input closer to `x[i]`
        than `radius[i]`, in this norm, has the same predicted class.

    Raises:
        ValueError: If the model has no proven bound, or an input is not finite.
    """
    certifier = Certifier(model, norm)
    radii = [result.radius for result in certifier.run(x, None, batch_size)]
    return np.concatenate(radii)
