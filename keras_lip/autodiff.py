"""Gradients with respect to inputs, which `keras.ops` does not provide.

This is one of the few files that branch on the backend.
"""

from collections.abc import Callable

import keras

from keras_lip.types import Tensor


def gradient(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Differentiates the sum of a function's output.

    Args:
        function: Function of one tensor, composed of differentiable operations.
            If it treats samples independently, the result contains each
            sample's gradient.
        inputs: Floating-point tensor.

    Returns:
        Tensor of the same shape and dtype as `inputs`.

    Raises:
        NotImplementedError: If the backend has no automatic differentiation.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            outputs = function(inputs)
        return tape.gradient(outputs, inputs)
    if backend == "jax":
        import jax

        return jax.grad(lambda x: function(x).sum())(inputs)
    if backend == "torch":
        import torch

        with torch.enable_grad():
            inputs = inputs.detach().requires_grad_()
            (result,) = torch.autograd.grad(function(inputs).sum(), inputs)
        return result
    raise NotImplementedError(
        "Gradients are available on the tensorflow, jax and torch backends. "
        f"Received: backend={backend!r}"
    )
