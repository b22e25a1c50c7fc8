"""Hinge-regularized Kantorovich-Rubinstein loss."""

from typing import Any

import keras
from keras import ops

from keras_lip.labels import to_signs
from keras_lip.losses.base_loss import BaseLoss
from keras_lip.losses.loss_terms import binary_hinge
from keras_lip.losses.loss_terms import gap_between_means
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class HKR(BaseLoss):
    """Binary hinge loss minus the gap between the two classes' means.

    The loss is `alpha * hinge - gap`: `hinge` is that of `HingeMargin`, and
    `gap` the mean score of the positive class minus that of the negative one,
    which is minus `KantorovichRubinstein`. The hinge part makes a classifier
    of the critic, the gap keeps samples far from its boundary.

    Both parts are weighted by `sample_weight` and masks as they are in their
    own losses: a `class_weight` acts on the hinge only.

    Args:
        alpha: Float, at least 0. Factor of the hinge. Defaults to `10.0`.
        margin: Float, greater than 0. Score that the hinge asks of each sample.
            Defaults to `1.0`.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"hkr"`.
        dtype: Dtype of the loss. Defaults to `keras.config.floatx()`.

    Call arguments:
        y_true: Labels 0 and 1, or -1 and 1, of shape `(batch,)` or
            `(batch, 1)`.
        y_pred: Scores of shape `(batch, 1)` or `(batch,)`.
        sample_weight: Weights of shape `()`, `(batch,)` or `(batch, 1)`.

    Raises:
        ValueError: If `alpha` or `margin` is out of range, or if a shape is
            another one. If a label is another one, where its value is known; in
            a compiled step the loss is then NaN.

    Example:

    >>> loss = keras_lip.losses.HKR(alpha=10.0, margin=1.0)
    >>> float(loss([1, 0], [[0.5], [-3.0]]))  # 10 * 0.25 - 3.5
    -1.0

    Reference:

    - [Serrurier et al., 2021](https://arxiv.org/abs/2006.06520)
    """

    def __init__(
        self,
        alpha: float = 10.0,
        margin: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "hkr",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.alpha = check_number("alpha", alpha, 0.0)
        self.margin = check_number("margin", margin, 0.0, open_low=True)

    def encode(self, y_true: Any, y_pred: Tensor) -> Tensor:
        return to_signs(y_true, y_pred)

    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        positive = ops.cast(targets > 0, scores.dtype)
        gap = gap_between_means(positive, scores, weights)
        return self.alpha * binary_hinge(targets, scores, self.margin) - gap

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "margin": self.margin,
        }
