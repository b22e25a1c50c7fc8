"""Hinge loss of the margins between a class and all other classes."""

from typing import Any

import keras

from keras_lip.labels import to_one_hot
from keras_lip.losses.base_loss import BaseLoss
from keras_lip.losses.loss_terms import multiclass_hinge
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class MulticlassHinge(BaseLoss):
    """Sum over the other classes of `max(0, margin - (f_t - f_i))`.

    `t` is the class of the sample and `i` runs over the other classes. The loss
    is zero if the score of each sample's class exceeds all other scores by the
    margin.

    Args:
        margin: Float, greater than 0. Defaults to `1.0`.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"multiclass_hinge"`.
        dtype: Dtype of the loss. Defaults to `keras.config.floatx()`.

    Call arguments:
        y_true: Class indices of shape `(batch,)` or `(batch, 1)`, or one-hot
            rows of shape `(batch, classes)`.
        y_pred: Scores of shape `(batch, classes)`.
        sample_weight: Weights of shape `()`, `(batch,)` or `(batch, 1)`.

    Raises:
        ValueError: If `margin` is out of range, or if the shapes of `y_true`
            and `y_pred` do not match. If a label is not a class and its value
            is known; in a compiled step the loss is NaN instead.

    Example:

    >>> loss = keras_lip.losses.MulticlassHinge(margin=1.0)
    >>> float(loss([0], [[2.0, 1.5, -4.0]]))  # 0.5 + 0
    0.5

    Reference:

    - [Anil et al., 2019](https://arxiv.org/abs/1811.05381)
    """

    def __init__(
        self,
        margin: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "multiclass_hinge",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.margin = check_number("margin", margin, 0.0, open_low=True)

    def encode(self, y_true: Any, y_pred: Tensor) -> Tensor:
        return to_one_hot(y_true, y_pred)

    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        return multiclass_hinge(targets, scores, self.margin)

    def get_config(self) -> Config:
        return {**super().get_config(), "margin": self.margin}
