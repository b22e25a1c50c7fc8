"""Certificates of a model as it is executed in floating point."""

from typing import Any

import keras
import numpy as np

from keras_lip.certificates.execution import upward
from keras_lip.certificates.execution.arithmetic import HOST
from keras_lip.certificates.execution.arithmetic import Arithmetic
from keras_lip.certificates.execution.arithmetic import get_arithmetic
from keras_lip.certificates.execution.execution import Execution
from keras_lip.certificates.execution.execution import underflow_norm
from keras_lip.certificates.execution.linear_map import LinearMap
from keras_lip.certificates.execution.model_execution import ModelExecution
from keras_lip.certificates.margins import Margins
from keras_lip.certificates.margins import predict_labels
from keras_lip.types import Array

_SQRT_2 = float(np.nextafter(np.sqrt(2.0), np.inf))


class ExecutionCertifier:
    """Certifies that no execution of a model changes its prediction.

    What is executed is the stock form of the model, with the weights that run,
    in float32 or float64 throughout. Executions may sum in any order, with or
    without fused operations, and keep or flush subnormal numbers; each sum,
    product and comparison of numbers rounds to nearest, as IEEE 754 has it.
    This covers dense layers and convolutions that are computed as products and
    sums. It does not cover reduced formats such as TF32, fast algorithms such
    as those of Strassen and Winograd, Fourier transforms, nor graphs that an
    optimizer has rewritten by merging constants into weights. Keras on JAX and
    PyTorch rounds float64 to float32 in products, of which `"float64"` promises
    nothing.

    **Theorem.** For every `x'` within the radius of `x` in the l2 norm, rounded
    to the dtype where that cannot represent it, every execution predicts the
    class of the largest of the `logits` at `x`. A radius of zero promises
    nothing, not even at `x`.

    **Proof.** Let `f` be the real function of the stock weights, `F` an
    execution, `y` the class, `v` the logits. `Execution` bounds, layer by
    layer, `|v - f(x)| <= c`, `|f(x') - f(x)| <= L e` and
    `|F(x') - f(x')| <= a + b e` for `|x' - x| <= e`: a layer `A` of norm `|A|`
    takes the error `E` of its input to `|A| E` plus its own roundings,
    `gamma | |A| |F| + |bias| |`, in which `F` is within `c + L e + a + b e` of
    what was computed at `x`. Hence, with the constants of the margin,
    `F_y(x') - F_j(x') >= v_y - v_j - c - L e - a - b e`, which is positive for
    all `e < (v_y - v_j - c - a) / (L + b)`. The radius is the least over all
    `j`, and no larger than where a partial sum might overflow.

    Args:
        model: A built classifier with one input and one output, for which
            `find_pair_bounds` finds bounds. Its weights must not change after.
        dtype: `"float32"` or `"float64"`, that the executions run in.

    Raises:
        ValueError: If the dtype is another one or, on the first call, the
            roundings of a layer are not accounted for.

    Reference:

    - [Higham, 2002](https://doi.org/10.1137/1.9780898718027), sections 3.1 and
      3.3, for running error bounds
    - [Murray, 2026](https://arxiv.org/abs/2603.13334), for the certificate of
      dense networks by norms alone
    """

    def __init__(self, model: keras.Model, dtype: str) -> None:
        self._arithmetic = get_arithmetic(dtype)
        self._execution = ModelExecution(model, self._arithmetic)
        self._distances: Array | None = None

    def __call__(self, x: Any) -> Margins:
        """Bounds the margins of a batch of finite inputs."""
        # What overflows is caught by its bounds.
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = self._execution(np.asarray(x))
            loss, rate = self._margin_errors(
                outputs, predict_labels(outputs.value)
            )
        return Margins(outputs.value, loss, rate, outputs.limit)

    def _margin_errors(
        self, outputs: Execution, labels: Array
    ) -> tuple[Array, Array]:
        """Bounds `c + a` and `L + b` of the margins over all classes.

        Both are of shape `(num_samples, classes)`, or `(num_samples, 1)` where
        it is the same for all.
        """
        linear, source = outputs.linear, outputs.source
        if outputs.value.shape[1] == 1:
            return _join_errors(outputs, 1.0)
        if linear is None or source is None:
            return _join_errors(outputs, _SQRT_2)
        if self._distances is None:
            self._distances = _distances_up(linear.kernel)
        distances = self._distances[labels]
        return _head_errors(source, linear, labels, distances, self._arithmetic)


def _join_errors(outputs: Execution, scale: float) -> tuple[Array, Array]:
    """Bounds the loss of a margin of jointly bounded logits, `(c + a, L + b)`.

    A difference of two entries changes by `sqrt(2)` of the whole, at most.
    """
    loss = upward.add(outputs.center, outputs.drift[0], outputs.error[0])
    rate = upward.add(outputs.drift[1], outputs.error[1])
    return (
        upward.multiply(loss, scale)[:, None],
        upward.multiply(rate, scale)[:, None],
    )


def _head_errors(
    source: Execution,
    linear: LinearMap,
    labels: Array,
    distances: Array,
    arithmetic: Arithmetic,
) -> tuple[Array, Array]:
    """Bounds the loss of the margins of a last layer that is linear.

    The margin of classes `y` and `j` sees what precedes the layer through
    `w_y - w_j`. Its own roundings are those of the two sums, no more.
    """
    loss, rate = _join_errors(source, 1.0)
    own = [
        upward.add(each, np.take_along_axis(each, labels[:, None], 1))
        for each in _entry_errors(source, linear, arithmetic)
    ]
    return (
        upward.add(upward.multiply(distances, loss), own[0]),
        upward.add(upward.multiply(distances, rate), own[1]),
    )


def _entry_errors(
    source: Execution, linear: LinearMap, arithmetic: Arithmetic
) -> tuple[Array, Array]:
    """Bounds what each logit rounds, here and in an execution."""
    moduli = upward.multiply(
        linear.magnitude(source.value, arithmetic), linear.inflation
    )
    moduli = upward.add(
        moduli, underflow_norm(moduli, linear.roundings, arithmetic)
    )
    columns = upward.sample_norms(linear.kernel.T)
    # Room for weights so small that they are flushed to zero.
    columns = upward.add(columns, linear.kernel.size * 2.0**-100)
    start, growth = source.spread[:, :, None]
    gamma = arithmetic.gamma(linear.roundings)
    return (
        upward.add(
            upward.multiply(moduli, HOST.gamma(linear.roundings)),
            upward.multiply(moduli, gamma),
            upward.multiply(columns, start, gamma),
        ),
        upward.multiply(columns, growth, gamma),
    )


def _distances_up(kernel: Array) -> Array:
    """Returns the distances between all columns, rounded up."""
    rows = [
        upward.sample_norms((kernel - column[:, None]).T) for column in kernel.T
    ]
    # Each difference is off by a rounding.
    return upward.multiply(np.stack(rows), 1 + 2.0**-50)
