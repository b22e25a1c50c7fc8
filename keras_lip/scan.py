"""Loops over blocks of one shape, compiled once.

This is one of the few files that branch on the backend.
"""

import contextvars
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_lip.types import Tensor

# Takes the carry, and what one turn reads; returns the next carry, and what the
# turn writes.
Step = Callable[[Tensor, list[Tensor]], tuple[Tensor, list[Tensor]]]

_scanning: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "scanning", default=False
)


def is_scanning() -> bool:
    """Whether what runs now is the step of a `scan`, on JAX."""
    return _scanning.get()


def scan(
    step: Step, carry: Tensor, reads: list[Tensor], writes: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Runs a step for each index of the first axis of some tensors.

    Gradients pass through the loop. On JAX and TensorFlow the step is traced,
    and compiled, once. `keras.ops.scan` does the same, but on TensorFlow it
    writes nothing that is not of the carry's shape and XLA cannot
    differentiate it, and on PyTorch the time of its gradient grows with the
    square of the length.

    Args:
        step: Function of `(carry, slices)`, where `slices` are those of `reads`
            at one index. It returns the next carry, of the same shape and
            dtype, and a list of tensors. JAX traces it once for each function
            object: it must not depend on anything that changes.
        carry: Tensor to start from.
        reads: List of tensors of shape `(length, ...)`, at least one.
        writes: List of tensors like those that are to be returned, of which
            only the shapes and dtypes count.

    Returns:
        The last carry, and a list of tensors of the shapes of `writes`: what
        the turns wrote, stacked.
    """
    if keras.backend.backend() == "tensorflow":
        return _scan_in_tensorflow(step, carry, reads, writes)
    if keras.backend.backend() == "torch":
        return _scan_in_torch(step, carry, reads, writes)
    # On PyTorch, whose compiler knows no context variables, this is not asked.
    token = _scanning.set(True)
    try:
        carry, written = ops.scan(step, carry, reads)
        return carry, written
    finally:
        _scanning.reset(token)


def _scan_in_tensorflow(
    step: Step, carry: Tensor, reads: list[Tensor], writes: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    import tensorflow as tf

    length = reads[0].shape[0]

    def make_array(like: Tensor) -> Any:
        return tf.TensorArray(like.dtype, length, element_shape=like.shape[1:])

    sources = [make_array(tensor).unstack(tensor) for tensor in reads]
    shape = carry.shape

    def turn(index: Tensor, carry: Tensor, targets: list[Any]) -> Any:
        carry, written = step(carry, [array.read(index) for array in sources])
        carry.set_shape(shape)
        targets = [
            array.write(index, tensor)
            for array, tensor in zip(targets, written, strict=True)
        ]
        return index + 1, carry, targets

    _, carry, targets = tf.while_loop(
        lambda index, *_: index < length,
        turn,
        (0, carry, [make_array(tensor) for tensor in writes]),
        # Without a limit XLA has no gradient of the loop.
        maximum_iterations=length,
        parallel_iterations=1,
    )
    return carry, [array.stack() for array in targets]


def _scan_in_torch(
    step: Step, carry: Tensor, reads: list[Tensor], writes: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    rows = []
    # Of a tensor that is indexed, each gradient is as large as the whole.
    for slices in zip(*map(ops.unstack, reads), strict=True):
        carry, written = step(carry, list(slices))
        rows.append(written)
    return carry, [ops.stack(column) for column in zip(*rows, strict=True)]
