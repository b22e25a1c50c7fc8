"""Crossentropy with an output for what is not certified."""

from typing import Any

import keras
from keras import ops

from keras_lip.losses.certified_loss import CertifiedLoss
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class GloRo(CertifiedLoss):
    """Crossentropy, and the divergence from logits with one of no answer.

    A globally robust network (GloRo) has one more logit, which wins where the
    answer is not certified: with the predicted class `i`,

        f_none = max of f_j + epsilon * L_ij over j != i

    where `L_ij` is the Lipschitz constant of the margin of `i` over `j`. The
    loss is the crossentropy of the logits, plus `kl_weight` times the
    Kullback-Leibler divergence between the probabilities without and with the
    additional logit, `log(1 + exp(f_none) / sum(exp(f)))`, as in TRADES. With
    `kl_weight=1.0` it is the crossentropy of all logits, the additional one
    included: the loss of the first paper.

    In the `compile` of a `LipschitzModel` or `LipschitzSequential` the
    constants are estimates of that model's, in every step, and differentiable.

    Args:
        epsilon: Float, at least zero. Norm of the perturbations, in l2. It may
            be set later, `loss.epsilon = 0.2`, and by
            `keras_lip.callbacks.EpsilonScheduler`, also in compiled steps of a
            `LipschitzModel`.
            Defaults to `36 / 255`.
        kl_weight: Float, at least 0. Factor of the divergence. Defaults to
            `1.0`.
        lipschitz_bound: Float or `None`. Constant of the logits together, in a
            model that is not a `LipschitzModel`; each margin then has the
            constant `sqrt(2) * lipschitz_bound`. Defaults to `None`, for those
            that the model estimates in its steps.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"gloro"`.
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

    >>> loss = keras_lip.losses.GloRo(1.0, lipschitz_bound=2**-0.5)
    >>> # The second class ties with the first: three outputs are alike.
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
