"""Crossentropy that leaves out what has margin enough."""

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
    """Crossentropy at an offset that fades where the margin is large.

    With the probability `p` of the label under
    `softmax((f - offset * y) / temperature)`, the loss of a sample is

        -temperature * (1 - p) ** exponent * log(p)

    It fades faster than a crossentropy as `p` grows, so that a network of
    limited capacity does not spend it on margins that are large already. The
    logits `f` are raised as in `keras_lip.losses.EMMA` first, by perturbations
    of norm `epsilon`; with `epsilon=0` they are not.

    In the `compile` of a `LipschitzModel` or `LipschitzSequential` the
    constants of the margins are estimates of that model's, in every step, and
    differentiable.

    Args:
        epsilon: Float, at least zero. Norm of the perturbations, in l2. It may
            be set later, `loss.epsilon = 0.2`, and by
            `keras_lip.callbacks.EpsilonScheduler`, also in compiled steps of a
            `LipschitzModel`.
            Defaults to `36 / 255`.
        offset: Float. What is taken from the logit of the label. Defaults to
            `2.0`.
        temperature: Float, greater than 0. What logits are divided by. Defaults
            to `0.75`.
        exponent: Float, at least 1. How fast the loss fades. Defaults to `5.0`.
        lipschitz_bound: Float or `None`. Constant of the logits together, in a
            model that is not a `LipschitzModel`; each margin then has the
            constant `sqrt(2) * lipschitz_bound`. Defaults to `None`, for those
            that the model estimates in its steps.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"logit_annealing"`.
        dtype: Dtype of the loss. Defaults to `keras.config.floatx()`.

    Call arguments:
        y_true: Class indices of shape `(batch,)` or `(batch, 1)`, or one-hot
            rows of shape `(batch, classes)`.
        y_pred: Logits of shape `(batch, classes)`, of two classes or more.
        sample_weight: Weights of shape `()`, `(batch,)` or `(batch, 1)`.

    Raises:
        ValueError: If an argument is out of range; when called, if a shape is
            wrong, or if no constant is known. If a label is no class, where its
            value is known; in a compiled step the loss is then NaN.

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
        # Rounding may leave a loss below zero, and the power of it no number.
        missing = ops.maximum(-ops.expm1(-losses), 0.0)
        return self.temperature * missing**self.exponent * losses

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "offset": self.offset,
            "temperature": self.temperature,
            "exponent": self.exponent,
        }
