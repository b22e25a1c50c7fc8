"""Crossentropy that fades for samples with a large margin."""

from typing import Any

import keras
from keras import ops

from keras_lip.losses.certified_loss import ShiftedLoss
from keras_lip.losses.offset_crossentropy import offset_scores
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class LogitAnnealing(ShiftedLoss):
    """Crossentropy with an offset, which fades for large margins.

    With the probability `p` of the label under
    `softmax((f - offset * y) / temperature)`, the loss of a sample is

        -temperature * (1 - p) ** exponent * log(p)

    As `p` grows, it decreases faster than a crossentropy. So a network of
    limited capacity does not use its capacity for margins that are already
    large. Before that, the logits `f` are raised as in `keras_lip.losses.EMMA`,
    for perturbations of norm `epsilon`. With `epsilon=0` they are not raised.

    If the loss is passed to `compile` of a `LipschitzModel` or
    `LipschitzSequential`, the model estimates the constants of the margins in
    every step, and the estimates are differentiable.

    Args:
        epsilon: Float, at least zero. l2 norm of the perturbations. It can be
            changed later, by `loss.epsilon = 0.2` or by
            `keras_lip.callbacks.EpsilonScheduler`. The change also takes effect
            in compiled steps of a `LipschitzModel`. Defaults to `36 / 255`.
        offset: Float. Number subtracted from the logit of the label. Defaults
            to `2.0`.
        temperature: Float, greater than 0. The logits are divided by it.
            Defaults to `0.75`.
        exponent: Float, at least 1. The larger it is, the faster the loss
            fades. Defaults to `5.0`.
        lipschitz_bound: Float or `None`. Lipschitz constant of the vector of
            logits, for a model that is not a `LipschitzModel`. Each margin then
            has the constant `sqrt(2) * lipschitz_bound`. Defaults to `None`:
            the model estimates the constants in its steps.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"logit_annealing"`.
        dtype: Dtype of the loss. Defaults to `keras.config.floatx()`.

    Call arguments:
        y_true: Class indices of shape `(batch,)` or `(batch, 1)`, or one-hot
            rows of shape `(batch, classes)`.
        y_pred: Logits of shape `(batch, classes)` with at least two classes.
        sample_weight: Weights of shape `()`, `(batch,)` or `(batch, 1)`.

    Raises:
        ValueError: If an argument is out of range; when called, if a shape is
            wrong, no Lipschitz constant is known, or a label is not a class. A
            compiled step cannot check the labels: for a wrong label the loss is
            NaN.

    Example:

    >>> loss = keras_lip.losses.LogitAnnealing(
    ...     0.0, offset=1.0, temperature=1.0, exponent=1.0, lipschitz_bound=1.0
    ... )
    >>> round(float(loss([0], [[1.0, 0.0]])), 4)  # log(2) / 2
    0.3466

    Reference:

    - [Lai et al., 2025](https://arxiv.org/abs/2505.15174), on the annealing
      of logits
    """

    def __init__(
        self,
        epsilon: float = 36 / 255,
        offset: float = 2.0,
        temperature: float = 0.75,
        exponent: float = 5.0,
        lipschitz_bound: float | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "logit_annealing",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            epsilon,
            lipschitz_bound,
            name=name,
            reduction=reduction,
            dtype=dtype,
        )
        self.offset = check_number("offset", offset)
        self.temperature = check_number(
            "temperature", temperature, 0.0, open_low=True
        )
        self.exponent = check_number("exponent", exponent, 1.0)

    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        shifted = self.shift_scores(targets, scores)
        shifted = offset_scores(targets, shifted, self.offset, self.temperature)
        losses = ops.categorical_crossentropy(
            targets, shifted, from_logits=True
        )
        # By rounding a loss may be negative, and its power NaN.
        missing = ops.maximum(-ops.expm1(-losses), 0.0)
        return self.temperature * missing**self.exponent * losses

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "offset": self.offset,
            "temperature": self.temperature,
            "exponent": self.exponent,
        }
