"""A stock layer that takes images as a layer of ours does."""

from typing import Any

import keras
from keras import ops

from keras_lip.operators import crop_images
from keras_lip.operators import pad_circular
from keras_lip.operators.circular_padding import Padding
from keras_lip.types import Array


def stock_on_images(
    layer: Any,
    stock: keras.layers.Layer,
    weights: list[Array],
    padding: Padding = (),
    cropping: Padding = (),
) -> keras.layers.Layer:
    """Returns a built layer of Keras, or a model of it.

    Args:
        layer: A built convolution of ours.
        stock: A layer of Keras on images whose channels come last, since
            convolutions on CPUs want them so.
        weights: List of the weights of `stock`.
        padding: Pairs, one for each axis of the image: how far to continue the
            inputs periodically.
        cropping: Pairs, one for each axis of the image: what to cut off the
            outputs.

    Returns:
        The layer `stock` if its inputs and outputs are those of `layer`, or a
        functional model of it.
    """
    shape = layer.get_build_config()["input_shape"]
    # The sides stay open: until they are padded, images may be smaller than
    # the window.
    _, *sides, channels = layer.to_channels_last(shape)
    stock.build((None, *(None for _ in sides), channels))
    stock.set_weights(weights)
    first = layer.data_format == "channels_first"
    if not first and not any(map(any, [*padding, *cropping])):
        return stock
    inputs = outputs = keras.Input(shape[1:], dtype=layer.compute_dtype)
    if first:
        outputs = ops.moveaxis(outputs, 1, -1)
    outputs = stock(pad_circular(outputs, padding))
    outputs = crop_images(outputs, cropping)
    if first:
        outputs = ops.moveaxis(outputs, -1, 1)
    return keras.Model(inputs, outputs, name=layer.name)
