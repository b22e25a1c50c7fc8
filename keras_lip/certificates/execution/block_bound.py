"""Proven Lipschitz constants of the stock forms of layers, as a whole.

An error that enters a block grows by the block's constant at most, which may be
far less than the product of those of its parts. It must be that of the stock
form, whose weights are rounded: not of the layer that it comes from.
"""

from typing import Any

from keras_lip import layers
from keras_lip.bounds.activation_bound import activation_bound

# Their stock forms compute with the very numbers that the layers do.
_SAME_NUMBERS = (
    layers.AbsoluteValue,
    layers.ConvexPotentialConv2D,
    layers.ConvexPotentialDense,
    layers.FullSort,
    layers.GroupSort,
    layers.InvertibleDownsampling2D,
    layers.InvertibleUpsampling2D,
    layers.MaxMin,
    layers.PadChannels,
    layers.SLLConv2D,
    layers.SLLDense,
    layers.SandwichDense,
    layers.TruncateChannels,
)

# With circular padding or channels first they are models of one convolution.
_CONVOLUTIONS = (
    layers.AOLConv1D,
    layers.AOLConv2D,
    layers.BCOPConv1D,
    layers.BCOPConv2D,
    layers.OSSNConv2D,
    layers.RKOConv1D,
    layers.RKOConv2D,
    layers.SVCMConv2D,
)


def block_bound(layer: Any, stock: Any) -> float | None:
    """Bounds the Lipschitz constant of a layer's stock form.

    Args:
        layer: A built `LipschitzLayer`.
        stock: Its stock form, a model.

    Returns:
        Float, or `None` if no more is known than of its parts.
    """
    if type(layer) in _SAME_NUMBERS:
        return layer.lipschitz_bound()
    if type(layer) in _CONVOLUTIONS:
        (convolution,) = _find_linear(stock)
        norm = layer.bound_norm(convolution.kernel)
        return activation_bound(layer.activation, norm)
    return None


def _find_linear(stock: Any) -> list[Any]:
    """Returns the layers with a kernel, in the order that they run in."""
    return [layer for layer in stock.layers if hasattr(layer, "kernel")]
