"""Crossentropy minus a multiple of the certified radius."""

from typing import Any

import keras
from keras import ops

from keras_lip.losses.certified_loss import CertifiedLoss
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class CertificateRegularization(CertifiedLoss):
    """Crossentropy minus a multiple of the certified radius.

    With the label `t` and the Lipschitz constants `L_tj` of its margins, the
    radius of a sample is `min of (f_t - f_j) / L_tj over j != t`. The loss is
    the crossentropy of the logits minus `weight * max(radius, 0)`. The radius
    is positive if the prediction is correct.

    If the loss is passed to `compile` of a `LipschitzModel` or
    `LipschitzSequential`, the model estimates the constants in every step, and
    the estimates are differentiable. Certificates use proven constants instead,
    so the certified radius differs from the radius in the loss.

    Args:
        weight: Float, at least 0. Factor of the radius. Defaults to `0.5`.
        lipschitz_bound: Float or `None`. Lipschitz constant of the vector of
            logits, for a model that is not a `LipschitzModel`. Each margin then
            has the constant `sqrt(2) * lipschitz_bound`. Defaults to `None`:
            the model estimates the constants in its steps.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to
            `"certificate_regularization"`.
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

    >>> loss = keras_lip.losses.CertificateRegularization(
    ...     0.1, lipschitz_bound=2**-0.5
    ... )
    >>> round(float(loss([0], [[1.0, 0.0]])), 4)  # log(1 + exp(-1)) - 0.1
    0.2133

    Reference:

    - [Singla et al., 2022](https://arxiv.org/abs/2108.04062), on certificate
      regularization
    """

    def __init__(
        self,
        weight: float = 0.5,
        lipschitz_bound: float | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "certificate_regularization",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            None, lipschitz_bound, name=name, reduction=reduction, dtype=dtype
        )
        self.weight = check_number("weight", weight, 0.0)

    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        own = ops.sum(targets * scores, axis=-1, keepdims=True)
        constants = ops.maximum(self.find_constants(targets), 1e-6)
        radii = (own - scores) / constants
        radii = ops.where(targets > 0, float("inf"), radii)
        radius = ops.relu(ops.min(radii, axis=-1))
        losses = ops.categorical_crossentropy(targets, scores, from_logits=True)
        return losses - self.weight * radius

    def get_config(self) -> Config:
        return {**super().get_config(), "weight": self.weight}
