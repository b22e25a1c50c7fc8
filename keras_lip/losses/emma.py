"""Crossentropy of logits that are raised as far as they can be pushed."""

from typing import Any

import keras
from keras import ops

from keras_lip.losses.certified_loss import ShiftedLoss
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class EMMA(ShiftedLoss):
    """Crossentropy of logits that a perturbation has raised, each by its own.

    Every class `j` other than the label `t` is raised by what a perturbation of
    norm `epsilon` can do to its margin, `epsilon * L_tj`, but not beyond a tie
    with the label, and at least by a hundredth of it (efficient margin
    maximization, EMMA). `L_tj` is the Lipschitz constant of the margin. A loss
    that raises all classes by all of it trains against classes that no
    perturbation reaches.

    In the `compile` of a `LipschitzModel` or `LipschitzSequential` the
    constants are estimates of that model's, in every step, and differentiable:
    training lowers them where that pays. So layers need not have a norm of one,
    see `keras_lip.layers.LipschitzResidualConv2D`.

    Args:
        epsilon: Float, at least zero. Norm of the perturbations, in l2. It may
            be set later, `loss.epsilon = 0.2`, and by
            `keras_lip.callbacks.EpsilonScheduler`, also in compiled steps of a
            `LipschitzModel`.
            Defaults to `36 / 255`.
        lipschitz_bound: Float or `None`. Constant of the logits together, in a
            model that is not a `LipschitzModel`; each margin then has the
            constant `sqrt(2) * lipschitz_bound`. Defaults to `None`, for those
            that the model estimates in its steps.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"emma"`.
        dtype: Dtype of the loss. Defaults to `keras.config.floatx()`.

    Call arguments:
        y_true: Class indices of shape `(batch,)` or `(batch, 1)`, or one-hot
            rows of shape `(batch, classes)`.
        y_pred: Logits of shape `(batch, classes)`, of two classes or more.
        sample_weight: Weights of shape `()`, `(batch,)` or `(batch, 1)`.

    Raises:
        ValueError: If `epsilon` or `lipschitz_bound` is negative or not finite;
            when called, if a shape is wrong, or if no constant is known. If a
            label is no class, where its value is known; in a compiled step the
            loss is then NaN.

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
