"""Sorts each pair of channels.

This is one of the few files that branch on the backend.
"""

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.layers.activations.channel_groups import check_divisible
from keras_lip.layers.activations.channel_groups import merge_groups
from keras_lip.layers.activations.channel_groups import split_groups
from keras_lip.traces import is_eager_torch
from keras_lip.types import Tensor


def sort_pairs(inputs: Tensor, axis: int, descending: bool) -> Tensor:
    """Sorts each pair of neighbouring channels.

    The gradient of an output goes to the input that it equals. For equal inputs
    backends distribute it differently. Both outputs of a pair with a NaN are
    NaN.

    Args:
        inputs: Tensor whose axis `axis` contains an even number of channels.
        axis: Integer, counted from either end.
        descending: Boolean. Whether the maximum comes first.

    Returns:
        Tensor of the shape of `inputs`.
    """
    from_end = axis % len(inputs.shape) - len(inputs.shape)
    if from_end == -1 and keras.backend.backend() == "tensorflow":
        return _sort_by_swapping(inputs, descending)
    if is_eager_torch(inputs) and inputs.is_floating_point():
        check_divisible(inputs, axis, group_size=2)
        return _make_torch_function()(inputs, from_end, descending)
    pairs, axis = split_groups(inputs, axis, group_size=2)
    first, second = ops.unstack(pairs, axis=axis)
    low, high = ops.minimum(first, second), ops.maximum(first, second)
    pair = [high, low] if descending else [low, high]
    return merge_groups(ops.stack(pair, axis=axis), inputs)


def _sort_by_swapping(inputs: Tensor, descending: bool) -> Tensor:
    """Sorts in half of the time: TensorFlow is slow to read every other number.

    The whole tensor is compared with a copy whose pairs are swapped.
    """
    import tensorflow as tf

    def swap(x: Tensor) -> Tensor:
        pairs, axis = split_groups(x, -1, group_size=2)
        return merge_groups(tf.reverse(pairs, [axis]), x)

    is_first = np.arange(inputs.shape[-1]) % 2 == 0
    takes_maximum = is_first if descending else ~is_first

    @tf.custom_gradient
    def sort(x: Tensor) -> Tensor:
        swapped = swap(x)
        outputs = tf.where(
            takes_maximum, tf.maximum(x, swapped), tf.minimum(x, swapped)
        )

        def pull_back(upstream: Tensor) -> Tensor:
            # Both outputs of an equal pair stay in their places.
            is_kept = tf.equal(x, outputs)
            return tf.where(is_kept, upstream, swap(upstream))

        return outputs, pull_back

    return sort(inputs)


@functools.cache
def _make_torch_function() -> Any:
    """Returns the sort for PyTorch, with its derivatives.

    PyTorch's gradients of minima and maxima select numbers one by one, which
    takes ten times as long as a sort. Here they interpolate, with weights of
    zero and one, for which `torch.lerp` is exact.
    """
    import torch

    class SortPairs(torch.autograd.Function):
        @staticmethod
        def forward(inputs: Tensor, axis: int, descending: bool) -> Tensor:
            pairs = inputs.unflatten(axis, (-1, 2))
            outputs = torch.empty_like(pairs)
            high, low = outputs.unbind(axis)
            if not descending:
                high, low = low, high
            torch.maximum(*pairs.unbind(axis), out=high)
            torch.minimum(*pairs.unbind(axis), out=low)
            return outputs.flatten(axis - 1, axis)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
            inputs, ctx.axis, descending = inputs
            first, second = split(inputs, ctx.axis)
            is_swapped = first < second if descending else first > second
            ctx.save_for_backward(is_swapped)
            ctx.save_for_forward(is_swapped)

        @staticmethod
        def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
            # The transpose of a swap is the swap.
            (is_swapped,) = ctx.saved_tensors
            return swap(upstream, is_swapped, ctx.axis), None, None

        @staticmethod
        def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
            (is_swapped,) = ctx.saved_tensors
            return swap(tangent, is_swapped, ctx.axis)

        @staticmethod
        def vmap(info: Any, in_dims: Any, inputs: Tensor, *others: Any) -> Any:
            # The axis is counted from the end.
            return SortPairs.apply(inputs.movedim(in_dims[0], 0), *others), 0

    # The vmap of `torch.autograd.grad` knows views, but not `unflatten`.
    def split(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        even, odd = [
            (..., slice(start, None, 2), *[slice(None)] * (-1 - axis))
            for start in range(2)
        ]
        return x[even], x[odd]

    def swap(x: Tensor, is_swapped: Tensor, axis: int) -> Tensor:
        first, second = split(x, axis)
        weights = is_swapped.to(x.dtype)
        pairs = torch.stack(
            [
                torch.lerp(first, second, weights),
                torch.lerp(second, first, weights),
            ],
            dim=axis,
        )
        return pairs.reshape(x.shape)

    return SortPairs.apply
