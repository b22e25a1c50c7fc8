"""The base class of certified metrics."""

import abc
import math
import threading
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
from keras_lip.metrics.number import Number
from keras_lip.metrics.number import float32_up
from keras_lip.metrics.summary import SIZE
from keras_lip.metrics.summary import are_equal
from keras_lip.metrics.summary import summarize
from keras_lip.program.node import SampleShape
from keras_lip.proofs.norms import check_norm
from keras_lip.read_weight import read_weight
from keras_lip.types import Array
from keras_lip.types import Config
from keras_lip.types import Tensor

_expected = threading.local()

# By how much a constant that was passed is enlarged at least, in steps. They
# enlarge it by twice as much, which covers their rounding in float32, so that 1
# may be passed for networks whose kernels are rounded.
_SLACK = 2.0**-22


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

    A step of your own that calls no `compute_loss` gets no constants either.

    For other models, pass the constant as `lipschitz_bound`. It may be assigned
    again, for new weights, but `norm` may not: make a new metric instead.

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
        self._norm = None if norm is None else check_norm(norm)
        self.total = self._add_sum("total")
        self.count = self._add_sum("count")
        self._numbers: tuple[Number, ...] = ()
        self._lipschitz_bound: Number | None = None
        if lipschitz_bound is not None:
            self._lipschitz_bound = self.add_number(
                "lipschitz_bound", lipschitz_bound
            )
        self._pair_bounds: Any = None
        self._bounds: PairBounds | None = None
        self._head: Any = None
        self._model: Any = None
        # A summary of the first outputs of an evaluation, and whether it is to
        # be taken.
        self._summary: Any = None
        self._summary_is_due: Any = None
        self._strange_updates: Any = None

    @property
    def norm(self) -> str | None:
        """The norm of the perturbations."""
        return self._norm

    @property
    def lipschitz_bound(self) -> float | None:
        """The constant that was passed, or `None`."""
        bound = self._lipschitz_bound
        return None if bound is None else bound.value

    @lipschitz_bound.setter
    def lipschitz_bound(self, value: float) -> None:
        if self._lipschitz_bound is None:
            raise ValueError(
                f"Metric '{self.name}' was made without `lipschitz_bound`: a "
                "`LipschitzModel` provides its constants. Make a new metric to "
                f"use another one. Received: {value!r}"
            )
        self._lipschitz_bound.assign(value)

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
        """Sets the proven constants of a model, unless one was passed.

        Args:
            bounds: The `PairBounds` of the model.
            head: The last layer of the model, if it is linear, or `None`.
        """
        self._restore_numbers()
        if self._lipschitz_bound is not None:
            return
        self._bounds, self._head = bounds, head
        rounded = float32_up(bounds.matrix)
        self._find_pair_bounds(len(rounded)).assign(rounded)
        _expected_updates().pop(self, None)
        if self._summary is None:
            self._summary = self.add_note("summary", (SIZE,))
            self._summary_is_due = self.add_note("summary_is_due")
            self._strange_updates = self.add_note("strange_updates")
        self._summary_is_due.assign(1.0)
        self._strange_updates.assign(0.0)

    def find_given_constant(self, norm: str, classes: int) -> float | None:
        """Returns what steps use at least for a margin, if it was passed.

        Args:
            norm: `"l2"` or `"linf"`.
            classes: Positive integer. Number of outputs.
        """
        if self.lipschitz_bound is None:
            return None
        joint = JOINT_FACTORS[norm] if classes > 1 else 1.0
        return joint * self.lipschitz_bound * (1 + _SLACK)

    def forget_constants(self) -> None:
        """Makes all constants infinite, so that nothing is certified."""
        _expected_updates().pop(self, None)
        if self._pair_bounds is not None:
            self._pair_bounds.assign(np.full(self._pair_bounds.shape, math.inf))

    def expect_updates(self, times: int) -> None:
        """Announces updates with outputs of the bound model.

        Other updates get infinite constants: the metric does not know whose
        outputs these are.

        Args:
            times: Positive integer. Number of updates in a step.
        """
        _expected_updates()[self] = times

    def has_strange_updates(self) -> bool:
        """Whether an update since `take_constants` was not announced."""
        count = self._strange_updates
        return count is not None and float(read_weight(count)) > 0

    def add_number(self, name: str, value: float) -> Number:
        """Adds a non-negative number that may be assigned again."""
        number = Number(self, name, value)
        self._numbers = (*self._numbers, number)
        return number

    def add_note(self, name: str, shape: SampleShape = ()) -> Any:
        """Adds a variable in which the checks of an evaluation keep a value."""
        return self.add_variable(
            shape, "zeros", dtype="float32", aggregation="mean", name=name
        )

    def _restore_numbers(self) -> None:
        """Assigns numbers again, over what a state brought with it."""
        for number in self._numbers:
            number.assign(number.value)

    def has_other_outputs(self, summary: Array, unit: float) -> bool:
        """Whether the first update of an evaluation had other outputs.

        Args:
            summary: `summarize` of the outputs of the bound model.
            unit: Float. Unit roundoff of these, as in `are_equal`.
        """
        if self._summary is None or float(read_weight(self._summary_is_due)):
            return False
        return not are_equal(read_weight(self._summary), summary, unit)

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
        self._summarize_first(logits)
        constants = self._constants(logits.shape[-1])
        values = ops.cast(self.measure(y_true, logits, constants), self.dtype)
        self.count.assign(self.count + ops.sum(weights))
        self.total.assign(self.total + ops.sum(weights * values))

    def result(self) -> Tensor:
        return ops.divide_no_nan(self.total, self.count)

    def reset_state(self) -> None:
        # The constants are kept. Only `take_constants` changes them.
        self._restore_numbers()
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

    def _summarize_first(self, logits: Tensor) -> None:
        """Keeps a summary of the first outputs of an evaluation."""
        if self._summary is None:
            return
        due = ops.convert_to_tensor(self._summary_is_due)
        before = ops.convert_to_tensor(self._summary)
        self._summary.assign(ops.where(due > 0, summarize(logits), before))
        self._summary_is_due.assign(0.0 * due)

    def _constants(self, classes: int) -> Tensor:
        left = _expected_updates().pop(self, 0)
        if left > 1:
            _expected_updates()[self] = left - 1
        if self._lipschitz_bound is not None:
            joint = JOINT_FACTORS[self.norm or "l2"] if classes > 1 else 1.0
            factor = joint * (1 + 2 * _SLACK)
            bound = ops.multiply(self._lipschitz_bound.read(), factor)
            return ops.reshape(bound, (1, 1))
        if self._model is None:
            raise ValueError(
                f"Metric '{self.name}' has no Lipschitz bound. Compile a "
                "`LipschitzModel` or `LipschitzSequential` with it, or pass "
                "`lipschitz_bound`. `keras.models.clone_model` makes a plain "
                "model of a `LipschitzSequential`: call "
                "`LipschitzSequential.from_config(model.get_config())`."
            )
        constants = ops.convert_to_tensor(self._find_pair_bounds(classes))
        if left:
            return constants
        if self._strange_updates is not None:
            self._strange_updates.assign(self._strange_updates + 1.0)
        return constants + math.inf

    def _find_pair_bounds(self, classes: int) -> Any:
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


def _expected_updates() -> weakref.WeakKeyDictionary[CertifiedMetric, int]:
    """Returns how many updates of metrics are those of a step of their model.

    Replicas of TensorFlow take their steps in threads of their own.
    """
    if not hasattr(_expected, "updates"):
        _expected.updates = weakref.WeakKeyDictionary()
    found: weakref.WeakKeyDictionary[CertifiedMetric, int] = _expected.updates
    return found
