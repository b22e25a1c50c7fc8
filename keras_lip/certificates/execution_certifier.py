"""Certificates of the floating-point executions of a program."""

import numpy as np

from keras_lip.certificates.margins import Margins
from keras_lip.certificates.margins import predict_labels
from keras_lip.program import Program
from keras_lip.program import upward
from keras_lip.program.arithmetic import HOST
from keras_lip.program.arithmetic import get_arithmetic
from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import Machine
from keras_lip.program.enclosure import underflow_norm
from keras_lip.program.nodes.dense import Dense
from keras_lip.types import Array

_SQRT_2 = float(np.nextafter(np.sqrt(2.0), np.inf))


class ExecutionCertifier:
    """Certifies that no execution of a program changes its prediction.

    An execution runs the operations of the program's materialized model, all in
    float32 or all in float64. It may sum in any order, with or without fused
    operations, and may keep or flush subnormal numbers. Each sum and product is
    rounded to nearest, as in IEEE 754. This covers dense layers and
    convolutions that are computed as sums of products. It does not cover
    reduced formats such as TF32, fast algorithms such as Strassen's and
    Winograd's, Fourier transforms, or graphs in which an optimizer has merged
    constants into weights. Keras on JAX and PyTorch rounds float64 to float32
    in products; `"float64"` does not cover this.

    **Theorem.** For every `x'` within the radius of `x` in the l2 norm, rounded
    to the dtype if necessary, every execution predicts the class of the largest
    of the `logits` at `x`. A radius of zero promises nothing, not even at `x`.

    **Proof.** Let `f` be the real function of the program, `F` an execution,
    `y` the class, `v` the logits. `keras_lip.program.enclosure` bounds, node by
    node, `|v - f(x)| <= c`, `|f(x') - f(x)| <= L e` and `|F(x') - f(x')| <= a +
    b e` for `|x' - x| <= e`: a map `A` of norm `|A|` turns the error `E` of its
    input into at most `|A| E` plus its own rounding error `gamma | |A| |F| +
    |bias| |`, where `F` is within `c + L e + a + b e` of the value computed at
    `x`. With the constants of the margin it follows that `F_y(x') - F_j(x') >=
    v_y - v_j - c - L e - a - b e`, which is positive for all `e < (v_y - v_j -
    c - a) / (L + b)`. The radius is the minimum over all `j`. It is reduced if
    a partial sum might overflow within it.

    Args:
        program: The `Program` of a classifier.
        dtype: `"float32"` or `"float64"`. Precision of the executions.

    Raises:
        ValueError: If the dtype is invalid, a step computes in another dtype
            or, on the first call, the rounding errors of a layer are unknown.

    Reference:

    - [Higham, 2002](https://doi.org/10.1137/1.9780898718027), sections 3.1 and
      3.3, for running error bounds
    - [Murray, 2026](https://arxiv.org/abs/2603.13334), for the certificate of
      dense networks by norms alone
    """

    def __init__(self, program: Program, dtype: str) -> None:
        self._machine = Machine(get_arithmetic(dtype), sharp=True)
        self._program = program
        for step in program.steps:
            # A float32 program can also run in float64, with the same weights.
            if step.dtype not in ("float32", dtype):
                origin = program.origins[step.origin]
                raise ValueError(
                    f"semantics={dtype!r} is not supported for layer "
                    f"'{origin.name}' of type `{origin.kind}`: it computes in "
                    f"{step.dtype}. Use semantics='real'."
                )
        last = program.step_of(program.output)
        self._head: Dense | None = None
        self._keep: tuple[int, ...] = ()
        if last is not None and isinstance(last.node, Dense):
            self._head, self._keep = last.node, last.inputs
            self._distances = _distances_up(self._head.kernel)

    def __call__(self, x: Array) -> Margins:
        """Bounds the margins of a batch of finite inputs."""
        # The error bounds detect overflow.
        with np.errstate(over="ignore", invalid="ignore"):
            *source, outputs = self._program.enclose(
                x, self._machine, self._keep
            )
            labels = predict_labels(outputs.value)
            if outputs.value.shape[1] == 1:
                loss, rate = _join_errors(outputs, 1.0)
            elif self._head is None:
                loss, rate = _join_errors(outputs, _SQRT_2)
            else:
                loss, rate = self._head_errors(source[0], self._head, labels)
        return Margins(outputs.value, loss, rate, outputs.limit)

    def _head_errors(
        self, source: Enclosure, head: Dense, labels: Array
    ) -> tuple[Array, Array]:
        """Bounds the loss of margins for a linear last layer.

        The error of the layer's input enters the margin of classes `y` and `j`
        through `w_y - w_j`. The layer itself only adds the rounding errors of
        two sums.
        """
        loss, rate = _join_errors(source, 1.0)
        distances = self._distances[labels]
        own = [
            upward.add(each, np.take_along_axis(each, labels[:, None], 1))
            for each in self._entry_errors(source, head)
        ]
        return (
            upward.add(upward.multiply(distances, loss), own[0]),
            upward.add(upward.multiply(distances, rate), own[1]),
        )

    def _entry_errors(
        self, source: Enclosure, head: Dense
    ) -> tuple[Array, Array]:
        """Bounds the rounding error of each logit, here and in executions."""
        arithmetic = self._machine.arithmetic
        roundings = head.terms + 2
        moduli = head.magnitude(source.value, self._machine)
        moduli = upward.add(
            moduli, underflow_norm(moduli, roundings, arithmetic)
        )
        columns = upward.sample_norms(head.kernel.T)
        # Allowance for weights so small that they are flushed to zero.
        columns = upward.add(columns, head.kernel.size * 2.0**-100)
        start, growth = source.spread[:, :, None]
        gamma = arithmetic.gamma(roundings)
        return (
            upward.add(
                upward.multiply(moduli, HOST.gamma(roundings)),
                upward.multiply(moduli, gamma),
                upward.multiply(columns, start, gamma),
            ),
            upward.multiply(columns, growth, gamma),
        )


def _join_errors(outputs: Enclosure, scale: float) -> tuple[Array, Array]:
    """Bounds the loss `(c + a, L + b)` of a margin of jointly bounded logits.

    A difference of two entries changes by at most `sqrt(2)` times the change of
    the vector.
    """
    loss = upward.add(outputs.center, outputs.drift[0], outputs.error[0])
    rate = upward.add(outputs.drift[1], outputs.error[1])
    return (
        upward.multiply(loss, scale)[:, None],
        upward.multiply(rate, scale)[:, None],
    )


def _distances_up(kernel: Array) -> Array:
    """Returns the distances between all columns, rounded up."""
    with np.errstate(over="ignore", invalid="ignore"):
        rows = [
            upward.sample_norms((kernel - column[:, None]).T)
            for column in kernel.T
        ]
    # Each difference has one rounding error.
    return upward.multiply(np.stack(rows), 1 + 2.0**-50)
