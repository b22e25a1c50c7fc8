"""Loops over blocks of the same shape, compiled once.

This is one of the few files that branch on the backend.
"""

import contextvars
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_lip.types import Tensor

# Maps the carry and the slices read by one iteration to the next carry and the
# tensors written by it.
Step = Callable[[Tensor, list[Tensor]], tuple[Tensor, list[Tensor]]]

_scanning: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "scanning", default=False
)


def is_scanning() -> bool:
    """Whether the current code is traced as the step of a `scan` on JAX."""
    return _scanning.get()


def scan(
    step: Step, carry: Tensor, reads: list[Tensor], writes: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Runs a step for each index of the first axis of some tensors.

    Gradients flow through the loop. On JAX and TensorFlow the step is traced
    and compiled only once. `keras.ops.scan` is not used for two reasons. On
    TensorFlow its outputs must have the carry's shape and XLA cannot
    differentiate it. On PyTorch the time of its gradient is quadratic in the
    length.

    Args:
        step: Function of `(carry, slices)`, where `slices` are the slices of
            `reads` at one index. It returns the next carry, of the same shape
            and dtype, and a list of tensors. JAX traces it only once for each
            function object, so it must not depend on anything that changes.
        carry: The initial carry, a tensor.
        reads: List of tensors of shape `(length, ...)`, at least one.
        writes: List of tensors with the shapes and dtypes of the step's list.
            Their values are not used.

    Returns:
        The last carry, and the stacked lists of tensors of all steps.
    """
    if keras.backend.backend() == "tensorflow":
        return _scan_in_tensorflow(step, carry, reads, writes)
    if keras.backend.backend() == "torch":
        return _scan_in_torch(step, carry, reads, writes)
    # PyTorch's compiler does not support context variables, so this is only
    # called on JAX.
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
        # XLA can differentiate the loop only if `maximum_iterations` is given.
        maximum_iterations=length,
        parallel_iterations=1,
    )
    return carry, [array.stack() for array in targets]


def _scan_in_torch(
    step: Step, carry: Tensor, reads: list[Tensor], writes: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    rows = []
    # The gradient of indexing is as large as the whole tensor, so unstack it
    # once.
    for slices in zip(*map(ops.unstack, reads), strict=True):
        carry, written = step(carry, list(slices))
        rows.append(written)
    return carry, [ops.stack(column) for column in zip(*rows, strict=True)]
