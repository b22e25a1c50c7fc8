"""Networks with a stem of measured norm, image blocks and dense layers."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.applications.image_input import check_image_shape
from keras_lip.applications.layers_by_name import make_activation
from keras_lip.applications.layers_by_name import make_head
from keras_lip.layers.convolutional.free_conv2d import FreeConv2D
from keras_lip.layers.convolutional.rko_conv import RKOConv2D
from keras_lip.layers.core.layer_stack import LayerStack
from keras_lip.layers.core.orthogonal_dense import OrthogonalDense
from keras_lip.layers.normalization.batch_centering import BatchCentering
from keras_lip.models.lipschitz_sequential import LipschitzSequential
from keras_lip.validation import check_positive_integer

# The neck maps a block of this many by this many pixels to one pixel.
_NECK_SIZE = 4

# Momentum of the moving means in the published networks.
_MOMENTUM = 0.9


def stack_image_blocks(
    make_convolution: Callable[[int, int], keras.layers.Layer],
    *,
    input_shape: Sequence[int],
    classes: int,
    depth: int,
    width: int,
    dense_depth: int,
    units: int,
    activation: str,
    centering: bool,
    parametrization: Any,
    stem_size: int,
    stem_strides: int,
    padding_mode: str,
    head: str,
    scan_blocks: bool,
    name: str | None,
) -> LipschitzSequential:
    """Stacks a first convolution, further convolutions and dense layers.

    Args:
        make_convolution: Function of `depth` and `width` that returns a
            convolution of `width` channels. It has no bias if a centering layer
            follows.
        input_shape: Shape of an image.
        classes: Positive integer. Number of outputs.
        depth: Positive integer. Number of convolutions after the first.
        width: Positive integer. Number of channels.
        dense_depth: Positive integer. Number of dense layers.
        units: Positive integer. Number of units of the dense layers.
        activation: Name of the activation.
        centering: Boolean. Whether the mean over the batch is subtracted after
            each convolution.
        parametrization: Orthogonal parametrization of neck and dense layers.
        stem_size: Positive integer. Window size of the first convolution.
        stem_strides: Positive integer. Strides of the first convolution.
        padding_mode: `"circular"` or `"zeros"`. Padding of the first
            convolution.
        head: Name of the last layer.
        scan_blocks: Boolean. Whether blocks of the same kind run as a
            `LayerStack`.
        name: Name of the model, or `None`.

    Returns:
        A model, not compiled.
    """
    for key, value in {
        "depth": depth,
        "width": width,
        "dense_depth": dense_depth,
        "units": units,
        "stem_size": stem_size,
        "stem_strides": stem_strides,
    }.items():
        check_positive_integer(key, value)

    def make_block() -> list[keras.layers.Layer]:
        layers = [make_convolution(depth, width)]
        if centering:
            layers.append(BatchCentering(_MOMENTUM))
        return [*layers, make_activation(activation)]

    def make_dense() -> list[keras.layers.Layer]:
        dense = OrthogonalDense(
            units,
            kernel_initializer=keras.initializers.RandomNormal(0.0, 1 / units),
            parametrization=parametrization,
            residual_scale=dense_depth**-0.5,
        )
        return [dense, make_activation(activation)]

    shape = check_image_shape(input_shape, stem_strides * _NECK_SIZE)
    return LipschitzSequential(
        [
            keras.Input(shape),
            # Pixel values are between zero and one.
            keras.layers.Rescaling(1.0, offset=-0.5),
            FreeConv2D(
                width,
                stem_size,
                strides=stem_strides,
                padding_mode=padding_mode,
                data_format="channels_last",
            ),
            make_activation(activation),
            *repeat_block(make_block, depth, scan_blocks),
            RKOConv2D(
                width,
                _NECK_SIZE,
                strides=_NECK_SIZE,
                use_bias=False,
                parametrization=parametrization,
                data_format="channels_last",
            ),
            keras.layers.Flatten("channels_last"),
            OrthogonalDense(units, parametrization=parametrization),
            make_activation(activation),
            *repeat_block(make_dense, dense_depth, scan_blocks),
            make_head(head, classes),
        ],
        name=name,
    )


def repeat_block(
    make_block: Callable[[], list[keras.layers.Layer]],
    depth: int,
    scan_blocks: bool,
) -> list[keras.layers.Layer]:
    """Returns the layers of `depth` blocks, or one loop over them."""
    if scan_blocks:
        return [LayerStack(make_block(), depth)]
    return [layer for _ in range(depth) for layer in make_block()]
