"""Hinge-regularized Kantorovich-Rubinstein loss for several binary labels."""

from typing import Any

import keras
from keras import ops

from keras_lip.labels import to_sign_rows
from keras_lip.losses.base_loss import BaseLoss
from keras_lip.losses.loss_terms import gap_between_means
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_boolean
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class MultilabelHKR(BaseLoss):
    """Mean over several binary labels of their `HKR` losses.

    Each column of the labels is a separate binary problem, whose scores are in
    the same column of `y_pred`. A sample may have any number of positive
    labels. The loss is the mean over the columns `k` of `alpha * hinge - gap`,
    where

    - `hinge` is the mean over the samples of `max(0, margin - y_k * f_k)`, with
      `y_k` in {-1, 1};
    - `gap` is the mean of `f_k` over the positive samples of column `k`, minus
      its mean over the negative samples. If `f_k` is 1-Lipschitz, this is at
      most the Wasserstein-1 distance between the two. A column whose labels are
      all equal in the batch has a gap of 0.

    If the hinge is 0 and `f` is 1-Lipschitz in the l2 norm, no perturbation of
    l2 norm below `margin` changes any label.

    A weight applies to a sample, so to all of its labels. With `sample_weight`
    or a mask the means are weighted, as in `KantorovichRubinstein`. Do not pass
    `class_weight` to `fit`: Keras interprets rows of labels as one-hot rows.
    On several replicas the means are those of a part of the batch or of the
    whole, as in `KantorovichRubinstein`.

    Args:
        alpha: Non-negative float. Factor of the hinge loss. Defaults to `10.0`.
        margin: Float, greater than 0. Score that each label should reach.
            Defaults to `1.0`.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"multilabel_hkr"`.
        dtype: Dtype of the loss. Defaults to `keras.config.floatx()`.
        synchronized: Boolean. Whether the means are those of the whole batch,
            of all replicas. All replicas must then compute the loss together:
            on PyTorch, a process that computes it alone waits for the others.
            Defaults to `False`.

    Call arguments:
        y_true: Labels 0 and 1, or -1 and 1, of shape `(batch, labels)`.
        y_pred: Scores of shape `(batch, labels)`.
        sample_weight: Weights of shape `()`, `(batch,)` or `(batch, 1)`.

    Raises:
        TypeError: If `synchronized` is not a boolean.
        ValueError: If `alpha` or `margin` is out of range, or if the shapes of
            `y_true` and `y_pred` do not match. If a label is invalid and its
            value is known; in a compiled step the loss is NaN instead. If a
            batch contains both 0 and -1, because only one of them can mean the
            negative label.

    Example:

    >>> loss = keras_lip.losses.MultilabelHKR(alpha=1.0, margin=1.0)
    >>> # Hinges: 0.5 / 2 and 0. Gaps: 0.5 + 2, and 0: no negative sample.
    >>> float(loss([[1, 1], [0, 1]], [[0.5, 2.0], [-2.0, 1.0]]))
    -1.125

    Reference:

    - [Serrurier et al., 2021](https://arxiv.org/abs/2006.06520), for one label
    """

    def __init__(
        self,
        alpha: float = 10.0,
        margin: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "multilabel_hkr",
        dtype: Any = None,
        *,
        synchronized: bool = False,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.synchronized = check_boolean("synchronized", synchronized)
        self.alpha = check_number("alpha", alpha, 0.0)
        self.margin = check_number("margin", margin, 0.0, open_low=True)

    def encode(self, y_true: Any, y_pred: Tensor) -> Tensor:
        return to_sign_rows(y_true, y_pred)

    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        hinge = ops.mean(ops.relu(self.margin - targets * scores), axis=-1)
        positive = ops.cast(targets > 0, scores.dtype)
        gap = gap_between_means(positive, scores, weights, self.synchronized)
        return self.alpha * hinge - gap

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "margin": self.margin,
            "synchronized": self.synchronized,
        }
