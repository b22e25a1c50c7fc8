"""Base classes of losses that use the Lipschitz constants of margins."""

import abc
import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_lip.labels import to_one_hot
from keras_lip.losses.base_loss import BaseLoss
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_number


class CertifiedLoss(BaseLoss):
    """Base class of losses that use the Lipschitz constants of the margins.

    If the loss is passed to `compile` of a `LipschitzModel` or
    `LipschitzSequential`, each step of the model gives it the constants of the
    margins. The constant of a margin is the constant of the layers before the
    last one, times the distance between the weights of the two classes. The
    constants are differentiable estimates: the gradient of the loss flows into
    them. **An estimate certifies nothing**; `keras_lip.certificates.certify`
    and the certified metrics prove their own constants.

    With other models, pass the constant as `lipschitz_bound`.

    Subclasses implement `compute_losses` and call `find_constants` in it.

    Args:
        epsilon: Float, at least zero, or `None` for a loss without an epsilon.
            It is stored in a variable that compiled steps read, so that a
            schedule can change it.
        lipschitz_bound: Float or `None`. Lipschitz constant of the vector of
            logits, for a model that does not estimate the constants.
        name: String. Name of the loss.
        reduction: String or `None`, as in `keras.losses.Loss`.
        dtype: Dtype of the loss.
    """

    def __init__(
        self,
        epsilon: float | None,
        lipschitz_bound: float | None = None,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if lipschitz_bound is not None:
            lipschitz_bound = check_number(
                "lipschitz_bound", lipschitz_bound, 0.0
            )
        self.lipschitz_bound = lipschitz_bound
        self._constants: Tensor | None = None
        self._epsilon: Any = None
        if epsilon is not None:
            # On JAX the value of a variable cannot be read while a model
            # trains.
            self._value = check_number("epsilon", epsilon, 0.0)
            self._epsilon = keras.Variable(
                self._value,
                trainable=False,
                dtype="float32",
                aggregation="only_first_replica",
                name=f"{self.name}_epsilon",
            )

    @property
    def variables(self) -> list[Any]:
        """The variables that a step reads, apart from the model's variables."""
        return [] if self._epsilon is None else [self._epsilon]

    @property
    def epsilon(self) -> float:
        """The current norm of the perturbations."""
        if self._epsilon is None:
            raise AttributeError(f"`{type(self).__name__}` has no epsilon.")
        return self._value

    @epsilon.setter
    def epsilon(self, value: float) -> None:
        self._value = check_number("epsilon", value, 0.0)
        self._epsilon.assign(self._value)

    @contextlib.contextmanager
    def using_constants(self, constants: Tensor) -> Iterator[None]:
        """Returns a context in which the loss uses these constants.

        Args:
            constants: Tensor of shape `(classes, classes)`. Entry `(i, j)`
                estimates the Lipschitz constant of `f_i - f_j`.
        """
        self._constants = constants
        try:
            yield
        finally:
            self._constants = None

    def encode(self, y_true: Any, y_pred: Tensor) -> Tensor:
        return to_one_hot(y_true, y_pred)

    def find_constants(self, rows: Tensor) -> Tensor:
        """Returns the constants of the margins of one class over all classes.

        Args:
            rows: Tensor of one-hot rows of shape `(batch, classes)`. A row
                selects the class whose margins are needed.

        Returns:
            Tensor of the same shape. The entry of the class itself is zero.

        Raises:
            ValueError: If no Lipschitz constant is known.
        """
        if self.lipschitz_bound is not None:
            return (1.0 - rows) * (math.sqrt(2.0) * self.lipschitz_bound)
        if self._constants is None:
            raise ValueError(
                f"Loss '{self.name}' has no Lipschitz constant. Pass it to "
                "`compile` of a `LipschitzModel` or `LipschitzSequential`, "
                "which estimates the constant, or pass `lipschitz_bound`."
            )
        return ops.matmul(rows, ops.cast(self._constants, rows.dtype))

    def read_epsilon(self, scores: Tensor) -> Tensor:
        """Returns epsilon in the dtype of scores."""
        return ops.cast(ops.convert_to_tensor(self._epsilon), scores.dtype)

    def get_config(self) -> Config:
        config = {
            **super().get_config(),
            "lipschitz_bound": self.lipschitz_bound,
        }
        if self._epsilon is not None:
            config["epsilon"] = self.epsilon
        return config


class ShiftedLoss(CertifiedLoss, abc.ABC):
    """Base class of losses that raise logits by the effect of a perturbation.

    Args:
        epsilon: Float, at least zero. Norm of the perturbations.
        **kwargs: As in `CertifiedLoss`.
    """

    def shift_scores(self, targets: Tensor, scores: Tensor) -> Tensor:
        """Raises the logits of other classes by the effect of a perturbation.

        With the margins `m_j = f_j - f_t` and their constants `L_tj`, class `j`
        is raised by `e_j * epsilon * L_tj`, where `e_j` is `-m_j / (epsilon *
        L_tj)`, clipped to the interval from 0.01 to 1. So the increase is the
        smaller of two: the increase that makes the class tie with the label,
        and the increase `epsilon * L_tj` that a perturbation can cause. It is
        at least a hundredth of the latter. No gradient flows through `e_j`.

        Returns:
            Tensor of the shape of `scores`. The entry of the class `t` is zero.
        """
        own = ops.sum(targets * scores, axis=-1, keepdims=True)
        margins = scores - own
        reach = self.read_epsilon(scores) * self.find_constants(targets)
        share = ops.clip(-margins / ops.maximum(reach, 1e-8), 0.01, 1.0)
        return margins + ops.stop_gradient(share) * reach
