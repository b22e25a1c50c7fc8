"""Hinge-regularized Kantorovich-Rubinstein loss for several classes."""

from typing import Any

import keras

from keras_lip.labels import to_one_hot
from keras_lip.losses.base_loss import BaseLoss
from keras_lip.losses.loss_terms import gap_between_means
from keras_lip.losses.loss_terms import multiclass_hinge
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_boolean
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class MulticlassHKR(BaseLoss):
    """Multiclass hinge loss minus the mean gap of the classes.

    The loss is `alpha * hinge - gap`. Here `hinge` is the loss
    `MulticlassHinge`, and `gap` is the mean over all classes `k` of

        mean of `f_k` over class `k` - mean of `f_k` over the other samples,

    which is a lower bound on the mean Wasserstein-1 distance between one class
    and the rest if each `f_k` is 1-Lipschitz. A class that contains none or all
    of the samples of a batch adds 0.

    With `sample_weight` or a mask the means are weighted, and on several
    replicas they are those of a part of the batch or of the whole, as in
    `KantorovichRubinstein`.

    Args:
        alpha: Non-negative float. Factor of the hinge loss. Defaults to `10.0`.
        margin: Float, greater than 0. Defaults to `1.0`.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"multiclass_hkr"`.
        dtype: Dtype of the loss. Defaults to `keras.config.floatx()`.
        synchronized: Boolean. Whether the means are those of the whole batch,
            of all replicas. All replicas must then compute the loss together:
            on PyTorch, a process that computes it alone waits for the others.
            Defaults to `False`.

    Call arguments:
        y_true: Class indices of shape `(batch,)` or `(batch, 1)`, or one-hot
            rows of shape `(batch, classes)`.
        y_pred: Scores of shape `(batch, classes)`.
        sample_weight: Weights of shape `()`, `(batch,)` or `(batch, 1)`.

    Raises:
        TypeError: If `synchronized` is not a boolean.
        ValueError: If `alpha` or `margin` is out of range, or if the shapes of
            `y_true` and `y_pred` do not match. If a label is not a class and
            its value is known; in a compiled step the loss is NaN instead.

    Example:

    >>> loss = keras_lip.losses.MulticlassHKR(alpha=1.0, margin=1.0)
    >>> float(loss([0, 1], [[3.0, 2.5], [0.0, 1.0]]))  # 0.25 - (3 - 1.5) / 2
    -0.5

    Reference:

    - [Serrurier et al., 2021](https://arxiv.org/abs/2006.06520), whose hinge is
      one against all
    """

    def __init__(
        self,
        alpha: float = 10.0,
        margin: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "multiclass_hkr",
        dtype: Any = None,
        *,
        synchronized: bool = False,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.synchronized = check_boolean("synchronized", synchronized)
        self.alpha = check_number("alpha", alpha, 0.0)
        self.margin = check_number("margin", margin, 0.0, open_low=True)

    def encode(self, y_true: Any, y_pred: Tensor) -> Tensor:
        return to_one_hot(y_true, y_pred)

    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        hinge = multiclass_hinge(targets, scores, self.margin)
        return self.alpha * hinge - gap_between_means(
            targets, scores, weights, self.synchronized
        )

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "margin": self.margin,
            "synchronized": self.synchronized,
        }
