"""Sums over the replicas of a training step.

This is one of the few files that branch on the backend.
"""

import functools
from typing import Any

import keras

from keras_lip.types import Tensor


def sum_over_replicas(tensor: Tensor) -> Tensor:
    """Returns the sum of a tensor over all replicas of the current step.

    Replicas are those of a `tf.distribute` strategy, or the processes of the
    default group of `torch.distributed`. A step on JAX sees the whole batch, of
    whatever devices, so its tensors are sums already. Without replicas the
    tensor is returned.

    All replicas must call the function equally often and in the same order:
    each call waits for the others. Gradients flow to the tensors of all
    replicas.

    Args:
        tensor: Tensor of the same shape on all replicas.

    Returns:
        Tensor of that shape, equal on all replicas.
    """
    if keras.backend.backend() == "tensorflow":
        return _sum_on_tensorflow(tensor)
    if keras.backend.backend() == "torch":
        return _sum_on_torch(tensor)
    return tensor


def _sum_on_tensorflow(tensor: Tensor) -> Tensor:
    import tensorflow as tf

    # There is no context while a model is built in the scope of a strategy.
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensor
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensor)


def _sum_on_torch(tensor: Any) -> Tensor:
    import torch

    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized():
        return tensor
    # Keras builds models with tensors without values.
    if distributed.get_world_size() == 1 or tensor.device.type == "meta":
        return tensor
    return _torch_function().apply(tensor)


@functools.cache
def _torch_function() -> Any:
    import torch

    class SumOverReplicas(torch.autograd.Function):
        """The sum. Each summand has the sum of the gradients of all copies."""

        @staticmethod
        def forward(ctx: Any, tensor: Any) -> Any:
            return _reduce(tensor)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return _reduce(gradient)

    def _reduce(tensor: Any) -> Any:
        total = tensor.detach().clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    return SumOverReplicas
