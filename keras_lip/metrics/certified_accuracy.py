"""Certified accuracy of a classifier, as a metric."""

from typing import Any

import keras
from keras import ops

from keras_lip.labels import to_class_rows
from keras_lip.metrics.radius_metric import RadiusMetric
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class CertifiedAccuracy(RadiusMetric):
    """Fraction of samples proven correct within a radius.

    A sample counts if the logit of its class exceeds every other logit by more
    than `epsilon` times the Lipschitz constant of this margin. Then no
    perturbation of norm at most `epsilon` changes the prediction.

    If a `LipschitzModel` is compiled with the metric, its proven constants are
    used, which are computed at the start of every evaluation; see
    `CertifiedMetric`.

    Args:
        epsilon: Non-negative float. Norm of the perturbations. Defaults to `36
            / 255`, the usual value for images in [0, 1].
        lipschitz_bound: Float or `None`. Proven bound of a model that is not a
            `LipschitzModel`; Margins are then compared with `sqrt(2) *
            lipschitz_bound * epsilon`, or with `2 * lipschitz_bound * epsilon`
            in l-infinity. Defaults to `None`.
        name: String. Name of the metric. Defaults to `"certified_accuracy"`.
        dtype: Dtype of the result. Defaults to `None`.
        norm: `"l2"` or `"linf"`. Norm of the perturbations. Defaults to `None`,
            for the model's norm as in `keras_lip.certificates.certify`, or l2
            if the metric is not bound to a model.

    Raises:
        ValueError: If `epsilon` or `lipschitz_bound` is negative or not finite,
            or if the labels have neither shape `(batch_size,)` nor
            `(batch_size, 1)` nor the shape of the logits. Labels are class
            indices or one-hot. A sample with another label is never correct.

    Example:

    >>> metric = keras_lip.metrics.CertifiedAccuracy(0.5, lipschitz_bound=1.0)
    >>> metric.update_state([0, 1], [[1.0, 0.0], [0.1, 0.0]])
    >>> float(metric.result())
    0.5

    Reference:

    - [Tsuzuku et al., 2018](https://arxiv.org/abs/1802.04034), Proposition 1
    """

    def __init__(
        self,
        epsilon: float = 36 / 255,
        lipschitz_bound: float | None = None,
        name: str = "certified_accuracy",
        dtype: Any = None,
        norm: str | None = None,
    ) -> None:
        super().__init__(
            epsilon, lipschitz_bound, name=name, dtype=dtype, norm=norm
        )

    def measure(
        self, y_true: Tensor, y_pred: Tensor, pair_bounds: Tensor
    ) -> Tensor:
        classes = y_pred.shape[-1]
        if len(y_pred.shape) != 2 or classes < 2:
            raise ValueError(
                "`CertifiedAccuracy` takes logits of shape "
                "`(batch_size, classes)` with at least two classes. Received: "
                f"y_pred of shape {tuple(y_pred.shape)}. For one output use "
                "`BinaryCertifiedAccuracy`."
            )
        one_hot = to_class_rows(y_true, classes)
        pair_bounds = ops.broadcast_to(pair_bounds, (classes, classes))
        own = ops.sum(one_hot * y_pred, axis=-1, keepdims=True)
        # A product could round the constants down, in reduced precision.
        needed = self._epsilon.read() * ops.take(
            pair_bounds, ops.argmax(one_hot, axis=-1), axis=0
        )
        beaten = ops.logical_or(own - y_pred > needed, one_hot > 0)
        # An invalid label has a zero row and is never correct.
        known = ops.any(one_hot > 0, axis=-1)
        return ops.logical_and(ops.all(beaten, axis=-1), known)
