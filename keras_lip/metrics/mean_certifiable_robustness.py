"""Mean certifiable robustness (MCR) of a classifier, as a metric."""

from typing import Any

import keras

from keras_lip.metrics.certified_metric import CertifiedMetric
from keras_lip.metrics.signed_radii import signed_radii
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class MeanCertifiableRobustness(CertifiedMetric):
    """Mean of the certified radii, with negative sign for wrong predictions.

    A correctly classified sample contributes its certified radius. A
    misclassified sample contributes minus the radius within which its wrong
    class is proven, so a confident error counts more than a doubtful one. For a
    single output of a 1-Lipschitz `f`, with labels `y` of -1 and 1, the metric
    is the mean of `y f(x)`.

    If a `LipschitzModel` is compiled with the metric, its proven constants are
    used, which are computed at the start of every evaluation; see
    `CertifiedMetric`. The radius is the radius of
    `keras_lip.certificates.certify`, but at most 1e30.

    Args:
        lipschitz_bound: Float or `None`. Proven bound of the model, if it is
            not a `LipschitzModel`. The radius is then `|f| / lipschitz_bound`
            for a single output, and the smallest margin divided by `sqrt(2) *
            lipschitz_bound` for several outputs. Defaults to `None`.
        name: String. Name of the metric. Defaults to
            `"mean_certifiable_robustness"`.
        dtype: Dtype of the result. Defaults to `None`.
        norm: `"l2"` or `"linf"`. Norm of the perturbations. Defaults to `None`,
            for the model's norm as in `keras_lip.certificates.certify`, or l2
            if the metric is not bound to a model.

    Raises:
        ValueError: If `lipschitz_bound` is negative or not finite, or if logits
            or labels have the wrong shape. Labels are class indices or one-hot;
            for a single output they are 0 and 1, or -1 and 1. A sample with an
            invalid label counts as misclassified.

    Example:

    >>> metric = keras_lip.metrics.MeanCertifiableRobustness(
    ...     lipschitz_bound=1.0
    ... )
    >>> metric.update_state([1, 0], [[3.0], [2.0]])  # the second is wrong
    >>> float(metric.result())
    0.5

    Reference:

    - [Béthune et al., 2022](https://arxiv.org/abs/2104.05097), who define it
      for two classes
    """

    def __init__(
        self,
        lipschitz_bound: float | None = None,
        name: str = "mean_certifiable_robustness",
        dtype: Any = None,
        norm: str | None = None,
    ) -> None:
        super().__init__(lipschitz_bound, name=name, dtype=dtype, norm=norm)

    def measure(
        self, y_true: Tensor, y_pred: Tensor, pair_bounds: Tensor
    ) -> Tensor:
        return signed_radii(y_true, y_pred, pair_bounds)
