"""The "Small" network in PyTorch, with layers of other libraries.

The network corresponds to `keras_lip.applications.SmallConvNet`. Twice, it
rearranges blocks of pixels into channels and applies a convolution with a 2 x 2
window. Two dense layers follow. Between the layers, pairs are sorted. A
residual block does not change the number of channels: channels of zeros are
appended before it, or the last channels are dropped after it.

`make_copy` creates the same network from layers that this library can bound, so
that the networks of all libraries are certified with the same proof.
"""

import keras
import numpy as np

import keras_lip as kl

PACKAGES = {"deel-torchlip": "deel", "orthogonium": "orthogonium"}
BLOCKS = {"deel-torchlip": ("rko",), "orthogonium": ("bcop", "rko", "sll")}
WINDOW = 2
CLASSES = 10


def make_network(library, block, shape, width, units):
    """Returns an untrained network.

    Args:
        library: Key of `PACKAGES`.
        block: Name of a method in `BLOCKS` of the library.
        shape: Height, width and channels of an image.
        width: Number of channels of the first convolution.
        units: Number of units of the dense layer.
    """
    import torch

    make = {"deel-torchlip": _list_deel, "orthogonium": _list_orthogonium}
    convolve, dense, activation = make[library](block)
    height, side, channels = shape
    layers = []
    for filters in (width, 2 * width):
        layers.append(torch.nn.PixelUnshuffle(2))
        layers += convolve(4 * channels, filters)
        layers.append(activation())
        channels = filters
    return torch.nn.Sequential(
        *layers,
        torch.nn.Flatten(),
        dense(height * side // 16 * channels, units),
        activation(),
        dense(units, CLASSES),
    )


def _list_deel(block):
    """Returns the convolution, dense layer and sorting of deel-torchlip."""
    from deel import torchlip

    def convolve(channels, filters):
        yield torchlip.SpectralConv2d(
            channels,
            filters,
            WINDOW,
            padding="same",
            padding_mode="circular",
        )

    return convolve, torchlip.SpectralLinear, torchlip.GroupSort2


def _list_orthogonium(block):
    """Returns the convolution, dense layer and sorting of orthogonium."""
    from orthogonium.layers.conv.AOC.fast_block_ortho_conv import (
        FastBlockConv2d,
    )
    from orthogonium.layers.conv.AOC.rko_conv import RKOConv2d
    from orthogonium.layers.custom_activations import MaxMin
    from orthogonium.layers.linear.ortho_linear import OrthoLinear

    def convolve(channels, filters):
        layer_cls = {"bcop": FastBlockConv2d, "rko": RKOConv2d}[block]
        yield layer_cls(
            channels,
            filters,
            WINDOW,
            padding="same",
            padding_mode="circular",
        )

    used = _list_residual if block == "sll" else convolve
    return used, OrthoLinear, MaxMin


def _list_residual(channels, filters):
    import torch
    from orthogonium.layers.conv.SLL import SDPBasedLipschitzResBlock

    class FitChannels(torch.nn.Module):
        """Appends channels of zeros, or drops the last channels."""

        def forward(self, images):
            missing = filters - images.shape[1]
            return torch.nn.functional.pad(images, (0, 0, 0, 0, 0, missing))

    if filters > channels:
        yield FitChannels()
        channels = filters
    yield SDPBasedLipschitzResBlock(channels, filters / channels, WINDOW)
    if filters < channels:
        yield FitChannels()


def read_weights(network):
    """Returns the kernel and the bias that each layer uses at inference.

    Kernels have the axes of Keras. Channels have the order of PyTorch.
    """
    found = []
    for layer in network.eval():
        kernel = getattr(layer, "weight", getattr(layer, "kernel", None))
        if kernel is None:
            continue
        kernel = kernel.detach().cpu().numpy()
        kernel = np.moveaxis(kernel, (0, 1), (-1, -2))
        found.append((kernel, layer.bias.detach().cpu().numpy().ravel()))
    return found


def make_copy(library, block, shape, weights):
    """Rebuilds a PyTorch network from layers that this library can bound.

    Differences between the libraries, such as which channels form a pair, are
    expressed by reshaping and permuting axes.

    Args:
        library: Key of `PACKAGES`.
        block: Name of the method.
        shape: Height, width and channels of an image.
        weights: Result of `read_weights`.
    """
    sort = {"deel-torchlip": _sort_neighbours, "orthogonium": _sort_halves}
    apply = _add_residual if block == "sll" else _convolve
    inputs = x = keras.Input(shape)
    for kernel, bias in weights[:2]:
        x = sort[library](apply(_unshuffle(x), kernel, bias))
    x = keras.layers.Flatten("channels_last")(
        keras.layers.Permute((3, 1, 2))(x)
    )
    for number, (kernel, bias) in enumerate(weights[2:]):
        if number:
            x = sort[library](x)
        x = _call(keras.layers.Dense(kernel.shape[-1]), x, kernel, bias)
    return keras.Model(inputs, x)


def _call(layer, inputs, *weights):
    outputs = layer(inputs)
    layer.set_weights(weights)
    return outputs


def _unshuffle(images):
    """Moves blocks of 2 x 2 pixels into channels, in the order of PyTorch."""
    height, width = (side // 2 for side in images.shape[1:3])
    shape = (height, 2, width, 2, images.shape[-1])
    blocks = keras.layers.Reshape(shape)(images)
    blocks = keras.layers.Permute((1, 3, 5, 2, 4))(blocks)
    shape = (height, width, 4 * images.shape[-1])
    return keras.layers.Reshape(shape)(blocks)


def _convolve(images, kernel, bias, padded=False):
    if not padded:
        images = kl.operators.pad_circular(images, [(0, 1), (0, 1)])
    layer = keras.layers.Conv2D(
        kernel.shape[-1],
        WINDOW,
        use_bias=bias is not None,
        data_format="channels_last",
    )
    return _call(layer, images, kernel, *([] if bias is None else [bias]))


def _add_residual(images, kernel, bias):
    """Computes `x - 2 K^T relu(K x + b)` with zero padding."""
    channels, filters = kernel.shape[-2:]
    if images.shape[-1] < channels:
        images = kl.layers.PadChannels(channels)(images)
    padded = keras.layers.ZeroPadding2D(1, data_format="channels_last")(images)
    hidden = keras.layers.ReLU()(_convolve(padded, kernel, bias, padded=True))
    back = 2 * np.swapaxes(kernel[::-1, ::-1], -2, -1)
    moved = _convolve(hidden, back, None, padded=True)
    images = keras.layers.Subtract()([images, moved])
    if filters < channels:
        images = kl.layers.TruncateChannels(filters)(images)
    return images


def _sort_neighbours(inputs):
    return kl.layers.GroupSort()(inputs)


def _sort_halves(inputs):
    """Sorts pairs of channels: one of the first half, one of the second."""
    *image, channels = inputs.shape[1:]
    axes = tuple(range(1, len(image) + 1))
    swapped = (*axes, len(axes) + 2, len(axes) + 1)
    halves = keras.layers.Reshape((*image, 2, channels // 2))(inputs)
    pairs = keras.layers.Permute(swapped)(halves)
    pairs = keras.layers.Reshape((*image, channels))(pairs)
    pairs = kl.layers.MaxMin()(pairs)
    pairs = keras.layers.Reshape((*image, channels // 2, 2))(pairs)
    halves = keras.layers.Permute(swapped)(pairs)
    return keras.layers.Reshape((*image, channels))(halves)
