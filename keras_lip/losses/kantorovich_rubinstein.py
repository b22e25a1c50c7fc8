"""Negated objective of the Kantorovich-Rubinstein dual, for a critic."""

from typing import Any

import keras
from keras import ops

from keras_lip.labels import to_signs
from keras_lip.losses.base_loss import BaseLoss
from keras_lip.losses.loss_terms import gap_between_means
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_boolean


@keras.saving.register_keras_serializable(package="keras_lip")
class KantorovichRubinstein(BaseLoss):
    """Mean score of the negative class minus mean score of the positive class.

    For a 1-Lipschitz `f`, the negated loss is at most the Wasserstein-1
    distance between the two classes of the batch, and the best such `f` attains
    this distance. Minimizing the loss therefore trains a critic, and the
    negated loss estimates the distance.

    Both means have the same weight, for any number of samples of a class. If a
    batch contains only one class, its loss and gradient are 0.

    With `sample_weight` or a mask the means are weighted, so a sample of weight
    0 is excluded. Multiplying all weights by a number multiplies the loss by
    it, as in Keras. A `class_weight` therefore does not change the balance
    between the two means.

    On several replicas, each computes the means of its own part of the batch,
    and their losses are averaged. This is another estimate of the distance than
    the loss of the whole batch: all parts have the same weight, for any number
    of samples of a class in them, and a part with only one class adds 0. With
    `synchronized=True` loss and gradient are those of the whole batch, if all
    parts have the same size. On JAX they always are.

    Args:
        reduction: String or `None`, as in `keras.losses.Loss`. With
            `"sum_over_batch_size"` the loss is the difference of means.
            Defaults to `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"kantorovich_rubinstein"`.
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
        ValueError: If the shapes of `y_true` and `y_pred` do not match. If a
            label is invalid and its value is known; in a compiled step the loss
            is NaN instead.

    Example:

    >>> loss = keras_lip.losses.KantorovichRubinstein()
    >>> float(loss([1, 0, 0], [[5.0], [1.0], [2.0]]))  # 1.5 - 5
    -3.5

    Reference:

    - [Serrurier et al., 2021](https://arxiv.org/abs/2006.06520)
    - [Arjovsky et al., 2017](https://arxiv.org/abs/1701.07875)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "kantorovich_rubinstein",
        dtype: Any = None,
        *,
        synchronized: bool = False,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.synchronized = check_boolean("synchronized", synchronized)

    def encode(self, y_true: Any, y_pred: Tensor) -> Tensor:
        return to_signs(y_true, y_pred)

    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        positive = ops.cast(targets > 0, scores.dtype)
        return -gap_between_means(positive, scores, weights, self.synchronized)

    def get_config(self) -> Config:
        return {**super().get_config(), "synchronized": self.synchronized}
