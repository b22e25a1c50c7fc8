"""Crossentropy with an additional output for uncertified predictions."""

from typing import Any

import keras
from keras import ops

from keras_lip.losses.certified_loss import CertifiedLoss
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class GloRo(CertifiedLoss):
    """Crossentropy plus the divergence from the logits with a rejection class.

    A globally robust network (GloRo) has one additional logit, which is the
    largest if the prediction is not certified. With the predicted class `i`, it
    is

        f_none = max of f_j + epsilon * L_ij over j != i

    where `L_ij` is the Lipschitz constant of the margin of `i` over `j`. The
    loss is the crossentropy of the logits, plus `kl_weight` times the
    Kullback-Leibler divergence between the probabilities without and with the
    additional logit, `log(1 + exp(f_none) / sum(exp(f)))`, as in TRADES. With
    `kl_weight=1.0` the loss is the crossentropy of all logits, including the
    additional one: the loss of the first paper.

    If the loss is passed to `compile` of a `LipschitzModel` or
    `LipschitzSequential`, the model estimates the constants in every step, and
    the estimates are differentiable.

    Args:
        epsilon: Float, at least zero. l2 norm of the perturbations. It can be
            changed later, by `loss.epsilon = 0.2` or by
            `keras_lip.callbacks.EpsilonScheduler`. The change also takes effect
            in compiled steps of a `LipschitzModel`. Defaults to `36 / 255`.
        kl_weight: Float, at least 0. Factor of the divergence. Defaults to
            `1.0`.
        lipschitz_bound: Float or `None`. Lipschitz constant of the vector of
            logits, for a model that is not a `LipschitzModel`. Each margin then
            has the constant `sqrt(2) * lipschitz_bound`. Defaults to `None`:
            the model estimates the constants in its steps.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"gloro"`.
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

    >>> loss = keras_lip.losses.GloRo(1.0, lipschitz_bound=2**-0.5)
    >>> # The additional logit ties with the first class.
    >>> round(float(loss([0], [[1.0, 0.0]])), 4)  # log(2 + exp(-1))
    0.862

    Reference:

    - [Leino et al., 2021](https://arxiv.org/abs/2102.08452), section 3
    - [Zhang et al., 2019](https://arxiv.org/abs/1901.08573), for TRADES
    """

    def __init__(
        self,
        epsilon: float = 36 / 255,
        kl_weight: float = 1.0,
        lipschitz_bound: float | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "gloro",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            epsilon,
            lipschitz_bound,
            name=name,
            reduction=reduction,
            dtype=dtype,
        )
        self.kl_weight = check_number("kl_weight", kl_weight, 0.0)

    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        classes = scores.shape[-1]
        found = ops.one_hot(
            ops.argmax(scores, axis=-1), classes, dtype=scores.dtype
        )
        reach = self.read_epsilon(scores) * self.find_constants(found)
        others = ops.where(found > 0, float("-inf"), scores + reach)
        none = ops.max(others, axis=-1)
        total = ops.logsumexp(scores, axis=-1)
        losses = ops.categorical_crossentropy(targets, scores, from_logits=True)
        return losses + self.kl_weight * ops.softplus(none - total)

    def get_config(self) -> Config:
        return {**super().get_config(), "kl_weight": self.kl_weight}
