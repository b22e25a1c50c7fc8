"""Crossentropy after the logit of the label is lowered."""

import math
from typing import Any

import keras
from keras import ops

from keras_lip.labels import to_one_hot
from keras_lip.losses.base_loss import BaseLoss
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class OffsetCrossentropy(BaseLoss):
    """Crossentropy after the logit of the label is lowered by an offset.

    The loss is `temperature` times the crossentropy of `softmax((f - offset *
    y) / temperature)`, for one-hot rows `y`. A sample has a small loss once its
    margin exceeds the offset. If the network is 1-Lipschitz and the offset is
    `sqrt(2) * radius`, such a sample is certified within `radius`. Logits are
    **divided** by the temperature, and the loss is multiplied by it; the
    temperature crossentropies of this library multiply logits.

    Args:
        offset: Float. Number subtracted from the logit of the label. Defaults
            to `sqrt(2)`, as for almost-orthogonal layers. SLL uses `1.5 *
            sqrt(2)`.
        temperature: Float, greater than 0. The logits are divided by it.
            Defaults to `0.25`.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"offset_crossentropy"`.
        dtype: Dtype of the loss. Defaults to `keras.config.floatx()`.

    Call arguments:
        y_true: Class indices of shape `(batch,)` or `(batch, 1)`, or one-hot
            rows of shape `(batch, classes)`.
        y_pred: Logits of shape `(batch, classes)` with at least two classes.
        sample_weight: Weights of shape `()`, `(batch,)` or `(batch, 1)`.

    Raises:
        ValueError: If `temperature` is out of range or `offset` is not finite;
            when called, if a shape is wrong or a label is not a class. A
            compiled step cannot check the labels: for a wrong label the loss is
            NaN.

    Example:

    >>> loss = keras_lip.losses.OffsetCrossentropy(1.0, temperature=0.5)
    >>> round(float(loss([0], [[1.0, 0.0]])), 4)  # 0.5 * log(2)
    0.3466

    Reference:

    - [Prach & Lampert, 2022](https://arxiv.org/abs/2208.03160), on the loss
      function; [Araujo et al., 2023](https://arxiv.org/abs/2303.03169) for SLL
    """

    def __init__(
        self,
        offset: float = math.sqrt(2.0),
        temperature: float = 0.25,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "offset_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.offset = check_number("offset", offset)
        self.temperature = check_number(
            "temperature", temperature, 0.0, open_low=True
        )

    def encode(self, y_true: Any, y_pred: Tensor) -> Tensor:
        return to_one_hot(y_true, y_pred)

    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        lowered = offset_scores(targets, scores, self.offset, self.temperature)
        return self.temperature * ops.categorical_crossentropy(
            targets, lowered, from_logits=True
        )

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "offset": self.offset,
            "temperature": self.temperature,
        }


def offset_scores(
    targets: Tensor, scores: Tensor, offset: float, temperature: float
) -> Tensor:
    """Lowers the logits of the labels and divides all by a temperature."""
    return (scores - offset * targets) / temperature
