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
    """Returns how far each input can be moved before its class may change.

    See `keras_lip.certificates.certify` for what is proven and how.

    Args:
        model: A built classifier with one input and one output of shape
            `(batch_size, classes)` or `(batch_size, 1)`.
        x: Array of inputs, or an iterable of batches.
        batch_size: Positive integer. Number of samples evaluated at a time.
            Defaults to `256`.
        norm: `"l2"` or `"linf"`. Defaults to the norm that the guarantees of
            all layers hold in, l2 where they hold in both.

    Returns:
        Array of shape `(num_samples,)`, float64. The class predicted for
        `x[i]` is that of every input at a distance below `radius[i]`, in this
        norm.

    Raises:
        ValueError: If the model has no proven bound, or an input is not finite.
    """
    certifier = Certifier(model, norm)
    radii = [result.radius for result in certifier.run(x, None, batch_size)]
    return np.concatenate(radii)
