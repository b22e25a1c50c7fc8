"""Certified accuracy of a binary classifier, as a metric."""

from typing import Any

import keras
from keras import ops

from keras_lip.labels import to_class_rows
from keras_lip.metrics.radius_metric import RadiusMetric
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class BinaryCertifiedAccuracy(RadiusMetric):
    """Fraction of samples of two classes proven correct within a radius.

    A sample counts if the model's single output has the sign of its class and
    its absolute value exceeds `epsilon` times the model's Lipschitz bound.

    If a `LipschitzModel` is compiled with the metric, its proven bound is used,
    which is computed at the start of every evaluation; see `CertifiedMetric`.

    Args:
        epsilon: Non-negative float. Norm of the perturbations. Defaults to `36
            / 255`, the usual value for images in [0, 1].
        lipschitz_bound: Float or `None`. Proven bound of the model, if it is
            not a `LipschitzModel`. Defaults to `None`.
        name: String. Name of the metric. Defaults to
            `"binary_certified_accuracy"`.
        dtype: Dtype of the result. Defaults to `None`.
        norm: `"l2"` or `"linf"`. Norm of the perturbations. Defaults to `None`,
            for the model's norm as in `keras_lip.certificates.certify`, or l2
            if the metric is not bound to a model.

    Raises:
        ValueError: If `epsilon` or `lipschitz_bound` is negative or not finite,
            or if logits or labels do not have shape `(batch_size, 1)`, or
            labels `(batch_size,)`. Labels are 0 and 1, or -1 and 1. A sample
            with another label is never correct.

    Example:

    >>> metric = keras_lip.metrics.BinaryCertifiedAccuracy(
    ...     0.5, lipschitz_bound=1.0
    ... )
    >>> metric.update_state([1, 0], [[0.7], [-0.2]])
    >>> float(metric.result())
    0.5
    """

    def __init__(
        self,
        epsilon: float = 36 / 255,
        lipschitz_bound: float | None = None,
        name: str = "binary_certified_accuracy",
        dtype: Any = None,
        norm: str | None = None,
    ) -> None:
        super().__init__(
            epsilon, lipschitz_bound, name=name, dtype=dtype, norm=norm
        )

    def measure(
        self, y_true: Tensor, y_pred: Tensor, pair_bounds: Tensor
    ) -> Tensor:
        if len(y_pred.shape) != 2 or y_pred.shape[-1] != 1:
            raise ValueError(
                "`BinaryCertifiedAccuracy` takes logits of shape "
                "`(batch_size, 1)`. Received: y_pred of shape "
                f"{tuple(y_pred.shape)}. For several classes use "
                "`CertifiedAccuracy`."
            )
        # An invalid label has a zero row and is never correct.
        rows = to_class_rows(y_true, 1)
        logits = ops.reshape(y_pred, (-1,))
        margins = ops.where(rows[:, 1] > 0, logits, -logits)
        certain = margins > self._epsilon.read() * ops.reshape(pair_bounds, ())
        return ops.logical_and(certain, ops.any(rows > 0, axis=-1))
