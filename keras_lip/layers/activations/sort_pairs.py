"""Sorts each pair of channels.

This is one of the few files that branch on the backend.
"""

import keras
import numpy as np
from keras import ops

from keras_lip.layers.activations.channel_groups import merge_groups
from keras_lip.layers.activations.channel_groups import split_groups
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
    is_last = axis % len(inputs.shape) == len(inputs.shape) - 1
    if is_last and keras.backend.backend() == "tensorflow":
        return _sort_by_swapping(inputs, descending)
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
