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
from keras_lip.validation import check_boolean
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class HKR(BaseLoss):
    """Binary hinge loss minus the gap between the two classes' means.

    The loss is `alpha * hinge - gap`. Here `hinge` is the loss `HingeMargin`,
    and `gap` is the mean score of the positive class minus the mean score of
    the negative class, the negative of the loss `KantorovichRubinstein`. The
    hinge turns the critic into a classifier, and the gap keeps samples far from
    its boundary.

    `sample_weight` and masks weight both parts as in the separate losses: a
    `class_weight` affects only the hinge. On several replicas the gap is that
    of a part of the batch or of the whole, as in `KantorovichRubinstein`.

    Args:
        alpha: Non-negative float. Factor of the hinge loss. Defaults to `10.0`.
        margin: Float, greater than 0. Score that each sample should reach.
            Defaults to `1.0`.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"hkr"`.
        dtype: Dtype of the loss. Defaults to `keras.config.floatx()`.
        synchronized: Boolean. Whether the means are those of the whole batch,
            of all replicas. All replicas must then compute the loss together:
            on PyTorch, a process that computes it alone waits for the others.
            Defaults to `False`.

    Call arguments:
        y_true: Labels 0 and 1, or -1 and 1, of shape `(batch,)` or
            `(batch, 1)`.
        y_pred: Scores of shape `(batch, 1)` or `(batch,)`.
        sample_weight: Weights of shape `()`, `(batch,)` or `(batch, 1)`.

    Raises:
        TypeError: If `synchronized` is not a boolean.
        ValueError: If `alpha` or `margin` is out of range, or if the shapes of
            `y_true` and `y_pred` do not match. If a label is invalid and its
            value is known; in a compiled step the loss is NaN instead.

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
        *,
        synchronized: bool = False,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.synchronized = check_boolean("synchronized", synchronized)
        self.alpha = check_number("alpha", alpha, 0.0)
        self.margin = check_number("margin", margin, 0.0, open_low=True)

    def encode(self, y_true: Any, y_pred: Tensor) -> Tensor:
        return to_signs(y_true, y_pred)

    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        positive = ops.cast(targets > 0, scores.dtype)
        gap = gap_between_means(positive, scores, weights, self.synchronized)
        return self.alpha * binary_hinge(targets, scores, self.margin) - gap

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "margin": self.margin,
            "synchronized": self.synchronized,
        }
