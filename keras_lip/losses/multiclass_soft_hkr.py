"""HKR loss with a soft maximum over the other classes."""

from typing import Any

import keras
from keras import ops

from keras_lip.labels import to_one_hot
from keras_lip.losses.base_loss import BaseLoss
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class MulticlassSoftHKR(BaseLoss):
    """Hinge loss of a soft margin, minus the soft margin.

    The soft margin of a sample of class `t` is

        gap = f_t - log(sum of exp(temperature * f_i) over i != t) / temperature

    and its loss is `alpha * max(0, margin - gap) - gap`. The loss of a sample
    depends only on that sample, not on the rest of the batch or on previous
    batches. `MulticlassHKR` weights all other classes equally, so many weak
    rivals dominate its loss. Here the strongest rivals dominate.

    The soft maximum is at least the largest other score, and exceeds it by at
    most `log(classes - 1) / temperature`; with two classes it is the other
    score. So the gap is at most the true margin: if the hinge of a sample is 0
    and `f` is 1-Lipschitz in the l2 norm, no perturbation of l2 norm below
    `margin / sqrt(2)` changes its class.

    Libraries define this loss differently. The soft HKR of deel-torchlip
    weights the other scores by their softmax, with a temperature that follows a
    moving average of the scores. Such a weighted mean may decrease when a low
    score increases, so training may increase scores of wrong classes, and the
    moving average makes the loss depend on previous batches. Its other form is
    a log-sum-exp as here, but with a temperature computed from the number of
    classes, and it is NaN for two classes.

    Args:
        alpha: Non-negative float. Factor of the hinge loss. Defaults to `10.0`.
        margin: Float, greater than 0. Defaults to `1.0`.
        temperature: Positive float. With a higher temperature the soft maximum
            is closer to the largest score, and fewer classes have a gradient.
            Defaults to `10.0`.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"multiclass_soft_hkr"`.
        dtype: Dtype of the loss. Defaults to `keras.config.floatx()`.

    Call arguments:
        y_true: Class indices of shape `(batch,)` or `(batch, 1)`, or one-hot
            rows of shape `(batch, classes)`.
        y_pred: Scores of shape `(batch, classes)`.
        sample_weight: Weights of shape `()`, `(batch,)` or `(batch, 1)`.

    Raises:
        ValueError: If `alpha`, `margin` or `temperature` is out of range, or if
            the shapes of `y_true` and `y_pred` do not match. If a label is not
            a class and its value is known; in a compiled step the loss is NaN
            instead.

    Example:

    >>> loss = keras_lip.losses.MulticlassSoftHKR(alpha=4.0, margin=1.0)
    >>> float(loss([0], [[1.0, 0.5]]))  # 4 * (1 - 0.5) - 0.5
    1.5

    Reference:

    - [Serrurier et al., 2023](https://arxiv.org/abs/2206.06854), who weigh the
      other classes by a softmax
    - [deel-torchlip](https://github.com/deel-ai/deel-torchlip), classes
      `SoftHKRMulticlassLoss` and `LseHKRMulticlassLoss`
    """

    def __init__(
        self,
        alpha: float = 10.0,
        margin: float = 1.0,
        temperature: float = 10.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "multiclass_soft_hkr",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.alpha = check_number("alpha", alpha, 0.0)
        self.margin = check_number("margin", margin, 0.0, open_low=True)
        self.temperature = check_number(
            "temperature", temperature, 0.0, open_low=True
        )

    def encode(self, y_true: Any, y_pred: Tensor) -> Tensor:
        return to_one_hot(y_true, y_pred)

    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        own = ops.sum(targets * scores, axis=-1)
        gap = own - _soft_maximum(1.0 - targets, scores, self.temperature)
        return self.alpha * ops.relu(self.margin - gap) - gap

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "margin": self.margin,
            "temperature": self.temperature,
        }


def _soft_maximum(
    members: Tensor, scores: Tensor, temperature: float
) -> Tensor:
    """Returns the soft maximum of each row's scores where `members` is 1.

    The largest score is subtracted before and added after the exponential, so
    that nothing overflows. Its gradient cancels, so it is stopped.
    """
    inside = members > 0
    largest = ops.stop_gradient(
        ops.max(
            ops.where(inside, scores, float("-inf")), axis=-1, keepdims=True
        )
    )
    # Mask before and after the exponential: otherwise an excluded class with a
    # much larger score would have the gradient 0 * inf.
    below = ops.where(inside, scores - largest, 0.0)
    powers = members * ops.exp(temperature * below)
    return largest[..., 0] + ops.log(ops.sum(powers, axis=-1)) / temperature
