"""Binary hinge loss with a margin."""

from typing import Any

import keras

from keras_lip.labels import to_signs
from keras_lip.losses.base_loss import BaseLoss
from keras_lip.losses.loss_terms import binary_hinge
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class HingeMargin(BaseLoss):
    """Binary hinge loss `max(0, margin - y * f)`, with `y` in {-1, 1}.

    The loss is zero if every score has the sign of its class and reaches the
    margin. For a 1-Lipschitz `f` the predictions are then proven to be constant
    under perturbations of norm below `margin`.

    Args:
        margin: Positive float. Score that each sample should reach. Defaults to
            `1.0`.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"hinge_margin"`.
        dtype: Dtype of the loss. Defaults to `keras.config.floatx()`.

    Call arguments:
        y_true: Labels 0 and 1, or -1 and 1, of shape `(batch,)` or
            `(batch, 1)`.
        y_pred: Scores of shape `(batch, 1)` or `(batch,)`.
        sample_weight: Weights of shape `()`, `(batch,)` or `(batch, 1)`.

    Raises:
        ValueError: If `margin` is out of range, or if the shapes of `y_true`
            and `y_pred` do not match. If a label is invalid and its value is
            known; in a compiled step the loss is NaN instead.

    Example:

    >>> loss = keras_lip.losses.HingeMargin(margin=1.0)
    >>> float(loss([1, -1], [[0.5], [-3.0]]))  # (0.5 + 0) / 2
    0.25

    Reference:

    - [Serrurier et al., 2021](https://arxiv.org/abs/2006.06520)
    """

    def __init__(
        self,
        margin: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "hinge_margin",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.margin = check_number("margin", margin, 0.0, open_low=True)

    def encode(self, y_true: Any, y_pred: Tensor) -> Tensor:
        return to_signs(y_true, y_pred)

    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        return binary_hinge(targets, scores, self.margin)

    def get_config(self) -> Config:
        return {**super().get_config(), "margin": self.margin}
