"""The base class of certified metrics."""

import abc
import math
import weakref
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.certificates.pair_bounds import JOINT_FACTORS
from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.linalg import pair_distances
from keras_lip.losses.sample_weights import copy_sample_weight
from keras_lip.losses.sample_weights import read_sample_weights
from keras_lip.proofs.norms import check_norm
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_number


class CertifiedMetric(keras.metrics.Metric, abc.ABC):
    """Averages a value that depends on proven constants over samples.

    If a `LipschitzModel` or `LipschitzSequential` is compiled with a certified
    metric, the metric is bound to that model. The model is frozen and its
    constants are proven at the start of training and at the start of every
    evaluation, after all callbacks. During training, the constants of a
    `UnitNormDense` or `Dense` last layer follow its kernel, or all constants
    follow the estimates of a loss such as `keras_lip.losses.EMMA`. An
    evaluation also runs a few extra inputs and compares their outputs with the
    frozen program. It raises an error if they differ, or if weights or the
    configs of layers change before it ends. The value of an evaluation agrees
    with `keras_lip.certificates.certify`, except that the logits have the
    model's precision. The value of a training epoch shows progress, but proves
    nothing, nor does the value of a model that rounds to 16 bits, which
    `certify` refuses. Outside of `fit`, `evaluate` and `test_on_batch` a bound
    metric certifies nothing, because it does not know whose outputs it gets.

    For other models, pass the constant as `lipschitz_bound`.

    Subclasses implement `measure`.

    Args:
        lipschitz_bound: Float or `None`. Proven bound of the model, if the
            metric is not bound to it.
        name: String. Name of the metric.
        dtype: Dtype of the result.
        norm: `"l2"` or `"linf"`. Norm of the perturbations. Defaults to `None`,
            for the model's norm as in `keras_lip.certificates.certify`, or l2
            if the metric is not bound to a model.
    """

    # Keras's callbacks read this attribute: larger values are better.
    _direction = "up"

    def __init__(
        self,
        lipschitz_bound: float | None = None,
        name: str | None = None,
        dtype: Any = None,
        norm: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.norm = None if norm is None else check_norm(norm)
        if lipschitz_bound is not None:
            lipschitz_bound = check_number(
                "lipschitz_bound", lipschitz_bound, 0.0
            )
        self.lipschitz_bound = lipschitz_bound
        self.total = self._add_sum("total")
        self.count = self._add_sum("count")
        self._pair_bounds: Any = None
        self._bounds: PairBounds | None = None
        self._head: Any = None
        self._model: Any = None

    @abc.abstractmethod
    def measure(
        self, y_true: Tensor, y_pred: Tensor, pair_bounds: Tensor
    ) -> Tensor:
        """Returns the value of each sample.

        Args:
            y_true: Tensor of labels.
            y_pred: Tensor of logits of shape `(batch_size, classes)`.
            pair_bounds: Tensor that broadcasts to `(classes, classes)`. Entry
                `(i, j)` bounds the Lipschitz constant of `f_i - f_j`.

        Returns:
            Tensor of shape `(batch_size,)`.
        """

    def bind(self, model: keras.Model) -> None:
        """Binds the metric to a model, which provides its constants."""
        if self.lipschitz_bound is None:
            self._model = weakref.ref(model)

    def take_constants(self, bounds: PairBounds, head: Any) -> None:
        """Sets the proven constants of a model.

        Args:
            bounds: The `PairBounds` of the model.
            head: The last layer of the model, if it is linear, or `None`.
        """
        self._bounds, self._head = bounds, head
        rounded = _float32_up(bounds.matrix)
        self._constants(len(rounded)).assign(rounded)

    def forget_constants(self) -> None:
        """Makes all constants infinite, so that nothing is certified."""
        if self._pair_bounds is not None:
            self._pair_bounds.assign(np.full(self._pair_bounds.shape, math.inf))

    def follow_head(self, estimate: Tensor | None = None) -> None:
        """Estimates the constants that change in a training step.

        Args:
            estimate: Tensor of shape `(classes, classes)`, or `None`. The
                constants in the l2 norm that a loss estimates. They include the
                constants of the layers before the last one. Defaults to `None`:
                only the constants of the last layer are estimated.
        """
        if self._bounds is None:
            return
        if estimate is not None and self._bounds.norm == "l2":
            self._pair_bounds.assign(ops.stop_gradient(estimate))
            return
        if self._head is None:
            return
        kernel = ops.cast(self._head.kernel, "float32")
        kernel = ops.stop_gradient(kernel)
        distances = pair_distances(kernel, self._bounds.norm)
        trunk_bound = min(self._bounds.trunk_bound, 1e30)
        self._pair_bounds.assign(trunk_bound * distances)

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Adds a batch of labels and logits to the average.

        Args:
            y_true: Labels.
            y_pred: Logits of shape `(batch_size, classes)`. Samples that a
                Keras mask excludes do not count.
            sample_weight: Weights of shape `()`, `(batch_size,)` or
                `(batch_size, 1)`.

        Raises:
            ValueError: If a shape is wrong.
        """
        if not hasattr(y_pred, "shape"):
            y_pred = ops.convert_to_tensor(y_pred)
        y_true = ops.convert_to_tensor(y_true)
        if len(y_pred.shape) != 2:
            raise ValueError(
                "Logits must have shape `(batch_size, classes)`, or "
                "`(batch_size, 1)` for two classes. Received: y_pred of shape "
                f"{tuple(y_pred.shape)}"
            )
        sizes = y_true.shape[0] if y_true.shape else 1, y_pred.shape[0]
        if None not in sizes and sizes[0] != sizes[1]:
            raise ValueError(
                "There must be one label for each row of logits. Received: "
                f"y_true of shape {tuple(y_true.shape)}, y_pred of shape "
                f"{tuple(y_pred.shape)}"
            )
        if sample_weight is not None:
            sample_weight = copy_sample_weight(sample_weight, y_pred)
        weights = read_sample_weights(sample_weight, y_pred, self.dtype)
        logits = ops.cast(y_pred, "float32")
        constants = ops.convert_to_tensor(self._constants(logits.shape[-1]))
        values = ops.cast(self.measure(y_true, logits, constants), self.dtype)
        self.count.assign(self.count + ops.sum(weights))
        self.total.assign(self.total + ops.sum(weights * values))

    def result(self) -> Tensor:
        return ops.divide_no_nan(self.total, self.count)

    def reset_state(self) -> None:
        # The constants are kept. Only `take_constants` changes them.
        self.total.assign(0.0)
        self.count.assign(0.0)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "lipschitz_bound": self.lipschitz_bound,
            "norm": self.norm,
        }

    def _add_sum(self, name: str) -> Any:
        # Each replica adds its own part of the data.
        return self.add_variable((), "zeros", aggregation="sum", name=name)

    def _constants(self, classes: int) -> Any:
        if self.lipschitz_bound is not None:
            joint = JOINT_FACTORS[self.norm or "l2"] if classes > 1 else 1.0
            return _float32_up([[joint * self.lipschitz_bound]])
        if self._model is None:
            raise ValueError(
                f"Metric '{self.name}' has no Lipschitz bound. Compile a "
                "`LipschitzModel` or `LipschitzSequential`, or pass "
                "`lipschitz_bound`."
            )
        if self._pair_bounds is None:
            # The constants are infinite until they are proven, so that nothing
            # is certified.
            self._pair_bounds = self.add_variable(
                (classes, classes),
                keras.initializers.Constant(math.inf),
                dtype="float32",
                # They are equal on all replicas and must not be summed.
                aggregation="only_first_replica",
                name="pair_bounds",
            )
        return self._pair_bounds


def _float32_up(values: Any) -> Any:
    with np.errstate(over="ignore"):
        rounded = np.asarray(values, dtype="float64").astype("float32")
    above = np.nextafter(rounded, np.float32(np.inf))
    return np.where(rounded < values, above, rounded).astype("float32")
