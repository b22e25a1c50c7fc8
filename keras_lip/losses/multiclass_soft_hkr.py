"""HKR loss of a class and the soft maximum of the others."""

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
    """Hinge loss of a soft margin, minus that margin.

    The soft margin of a sample of class `t` is

        gap = f_t - log(sum of exp(temperature * f_i) over i != t) / temperature

    and its loss is `alpha * max(0, margin - gap) - gap`. The loss of a sample
    depends on that sample alone: on no other sample of the batch, and on no
    batch before it. `MulticlassHKR` treats all other classes alike, which weak
    rivals dominate when there are many of them; here the strongest rivals
    count.

    The soft maximum is at least the largest other score, and exceeds it by at
    most `log(classes - 1) / temperature`; with two classes it is the other
    score. So the gap is at most the true margin: once the hinge of a sample is
    0, no perturbation of l2 norm below `margin / sqrt(2)` changes its class, if
    `f` is 1-Lipschitz in the l2 norm.

    Libraries differ in this loss. The soft HKR of deel-torchlip weighs the
    other scores by their softmax, whose temperature follows a moving average of
    the scores. Such a weighted mean may fall when a low score rises, so that
    training raises scores of wrong classes, and the average makes the loss
    depend on the batches before. Its other form, a log-sum-exp, is the one
    here, but takes a temperature of its own from the number of classes, and is
    NaN for two.

    Args:
        alpha: Float, at least 0. Factor of the hinge. Defaults to `10.0`.
        margin: Float, greater than 0. Defaults to `1.0`.
        temperature: Float, greater than 0. The higher it is, the closer is the
            soft maximum to the largest score, and the fewer classes have a
            gradient. Defaults to `10.0`.
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
            a shape is wrong. If a label is no class, where its value is known;
            in a compiled step the loss is then NaN.

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

    The largest score goes in and out unscaled, so that nothing overflows, and
    no gradient flows through it: it cancels.
    """
    inside = members > 0
    largest = ops.stop_gradient(
        ops.max(
            ops.where(inside, scores, float("-inf")), axis=-1, keepdims=True
        )
    )
    # Before and after the exponential: else the class that is left out, if it
    # is far above the others, has the gradient 0 * inf.
    below = ops.where(inside, scores - largest, 0.0)
    powers = members * ops.exp(temperature * below)
    return largest[..., 0] + ops.log(ops.sum(powers, axis=-1)) / temperature
