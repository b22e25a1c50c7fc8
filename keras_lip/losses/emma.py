"""Crossentropy of logits raised by the effect of a perturbation."""

from typing import Any

import keras
from keras import ops

from keras_lip.losses.certified_loss import ShiftedLoss
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class EMMA(ShiftedLoss):
    """Crossentropy of logits that are raised by a worst-case perturbation.

    A perturbation of norm `epsilon` can change the margin of a class `j` over
    the label `t` by up to `epsilon * L_tj`, where `L_tj` is the Lipschitz
    constant of the margin. The loss raises the logit of every class `j` other
    than the label by this amount, but not beyond a tie with the label, and at
    least by a hundredth of the amount (efficient margin maximization, EMMA). A
    loss that raises every class by the full amount also trains against classes
    that no perturbation reaches.

    If the loss is passed to `compile` of a `LipschitzModel` or
    `LipschitzSequential`, the model estimates the constants in every step, and
    the estimates are differentiable. Training lowers the constants where this
    reduces the loss. So the layers need not have norm one, see
    `keras_lip.layers.LipschitzResidualConv2D`.

    Args:
        epsilon: Float, at least zero. l2 norm of the perturbations. It can be
            changed later, by `loss.epsilon = 0.2` or by
            `keras_lip.callbacks.EpsilonScheduler`. The change also takes effect
            in compiled steps of a `LipschitzModel`. Defaults to `36 / 255`.
        lipschitz_bound: Float or `None`. Lipschitz constant of the vector of
            logits, for a model that is not a `LipschitzModel`. Each margin then
            has the constant `sqrt(2) * lipschitz_bound`. Defaults to `None`:
            the model estimates the constants in its steps.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"emma"`.
        dtype: Dtype of the loss. Defaults to `keras.config.floatx()`.

    Call arguments:
        y_true: Class indices of shape `(batch,)` or `(batch, 1)`, or one-hot
            rows of shape `(batch, classes)`.
        y_pred: Logits of shape `(batch, classes)` with at least two classes.
        sample_weight: Weights of shape `()`, `(batch,)` or `(batch, 1)`.

    Raises:
        ValueError: If `epsilon` or `lipschitz_bound` is negative or not finite;
            when called, if a shape is wrong, no Lipschitz constant is known, or
            a label is not a class. A compiled step cannot check the labels: for
            a wrong label the loss is NaN.

    Example:

    >>> loss = keras_lip.losses.EMMA(0.5, lipschitz_bound=2**-0.5)
    >>> # The other class is raised by 0.5, to a margin of 0.5.
    >>> round(float(loss([0], [[1.0, 0.0]])), 4)  # log(1 + exp(-0.5))
    0.4741

    Reference:

    - [Hu et al., 2023](https://arxiv.org/abs/2301.12549), on efficient margin
      maximization
    """

    def __init__(
        self,
        epsilon: float = 36 / 255,
        lipschitz_bound: float | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "emma",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            epsilon,
            lipschitz_bound,
            name=name,
            reduction=reduction,
            dtype=dtype,
        )

    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        shifted = self.shift_scores(targets, scores)
        return ops.categorical_crossentropy(targets, shifted, from_logits=True)
