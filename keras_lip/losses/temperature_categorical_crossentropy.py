"""Crossentropy of logits with a temperature, for rows of probabilities."""

from typing import Any

import keras
from keras import ops

from keras_lip.labels import to_distribution
from keras_lip.losses.base_loss import BaseLoss
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class TemperatureCategoricalCrossentropy(BaseLoss):
    """Crossentropy of the labels and `softmax(temperature * f)`.

    A 1-Lipschitz network cannot scale its own logits, so the temperature scales
    them. A low temperature favours large margins and needs fewer samples to
    generalize, a high one favours accuracy. The loss is not divided by the
    temperature.

    Args:
        temperature: Float, greater than 0. Factor of the logits. Defaults to
            `1.0`.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to
            `"temperature_categorical_crossentropy"`.
        dtype: Dtype of the loss. Defaults to `keras.config.floatx()`.

    Call arguments:
        y_true: One-hot rows, or rows of probabilities, of shape
            `(batch, classes)`.
        y_pred: Logits of shape `(batch, classes)`.
        sample_weight: Weights of shape `()`, `(batch,)` or `(batch, 1)`.

    Raises:
        ValueError: If `temperature` is out of range, or if the shapes of
            `y_true` and `y_pred` do not match. If a row of labels has negative
            entries or does not sum to 1 and its values are known; in a compiled
            step the loss is NaN instead.

    Example:

    >>> loss = keras_lip.losses.TemperatureCategoricalCrossentropy(2.0)
    >>> round(float(loss([[1, 0]], [[0.5, 0.0]])), 4)  # log(1 + exp(-1))
    0.3133

    Reference:

    - [Béthune et al., 2022](https://arxiv.org/abs/2104.05097)
    """

    def __init__(
        self,
        temperature: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "temperature_categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.temperature = check_number(
            "temperature", temperature, 0.0, open_low=True
        )

    def encode(self, y_true: Any, y_pred: Tensor) -> Tensor:
        return to_distribution(y_true, y_pred)

    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        return ops.categorical_crossentropy(
            targets, self.temperature * scores, from_logits=True
        )

    def get_config(self) -> Config:
        return {**super().get_config(), "temperature": self.temperature}
