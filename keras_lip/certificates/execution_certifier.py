"""Certificates of a program as it is executed in floating point."""

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

    What is executed is the program, as its materialized model writes it down,
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

    **Proof.** Let `f` be the real function of the program, `F` an execution,
    `y` the class, `v` the logits. `keras_lip.program.enclosure` bounds, node by
    node, `|v - f(x)| <= c`, `|f(x') - f(x)| <= L e` and
    `|F(x') - f(x')| <= a + b e` for `|x' - x| <= e`: a map `A` of norm `|A|`
    takes the error `E` of its input to `|A| E` plus its own roundings,
    `gamma | |A| |F| + |bias| |`, in which `F` is within `c + L e + a + b e` of
    what was computed at `x`. Hence, with the constants of the margin,
    `F_y(x') - F_j(x') >= v_y - v_j - c - L e - a - b e`, which is positive for
    all `e < (v_y - v_j - c - a) / (L + b)`. The radius is the least over all
    `j`, and no larger than where a partial sum might overflow.

    Args:
        program: The `Program` of a classifier.
        dtype: `"float32"` or `"float64"`, that the executions run in.

    Raises:
        ValueError: If the dtype is another one, a step computes in another one
            or, on the first call, the roundings of a layer are not known.

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
            # What is made in float32 runs in float64 as well, with its weights.
            if step.dtype not in ("float32", dtype):
                origin = program.origins[step.origin]
                raise ValueError(
                    f"semantics={dtype!r} is not known for layer "
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
        # What overflows is caught by its bounds.
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
        """Bounds the loss of the margins of a last layer that is linear.

        The margin of classes `y` and `j` sees what precedes the layer through
        `w_y - w_j`. Its own roundings are those of the two sums, no more.
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
        """Bounds what each logit rounds, here and in an execution."""
        arithmetic = self._machine.arithmetic
        roundings = head.terms + 2
        moduli = head.magnitude(source.value, self._machine)
        moduli = upward.add(
            moduli, underflow_norm(moduli, roundings, arithmetic)
        )
        columns = upward.sample_norms(head.kernel.T)
        # Room for weights so small that they are flushed to zero.
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
    """Bounds the loss of a margin of jointly bounded logits, `(c + a, L + b)`.

    A difference of two entries changes by `sqrt(2)` of the whole, at most.
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
    # Each difference is off by a rounding.
    return upward.multiply(np.stack(rows), 1 + 2.0**-50)
