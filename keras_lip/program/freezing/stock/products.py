"""Products with a kernel, along one axis or several."""

from typing import Any

from keras import layers

from keras_lip.program.builder import Wire
from keras_lip.program.freezing.activations import activate
from keras_lip.program.freezing.checks import unknown_layer
from keras_lip.program.freezing.reading import read_bias
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.einsum import Einsum
from keras_lip.read_weight import read_kernel


@register_freezer(layers.Dense)
def _(layer: Any, x: Wire) -> Wire:
    kernel = read_kernel(layer, layer.kernel)
    return activate(x.then(Dense(kernel, read_bias(layer))), layer.activation)


@register_freezer(layers.EinsumDense)
def _(layer: Any, x: Wire) -> Wire:
    kernel = read_kernel(layer, layer.kernel)
    bias = None if layer.bias is None else read_kernel(layer, layer.bias)
    equation = layer.equation.replace(" ", "")
    axes = layer.bias_axes or ""
    if "..." in equation:
        if x.shape is None:
            raise unknown_layer(layer, "its equation has an ellipsis")
        # What stands for the ellipsis, samples included, gets letters.
        source = equation.split(",")[0]
        spare = (c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation)
        count = len(x.shape) + 1 - len(source.replace("...", ""))
        equation = equation.replace(
            "...", "".join(next(spare) for _ in range(count))
        )
    letters = equation.split(",")
    sizes = dict(zip(letters[0][1:], x.shape or (), strict=False))
    sizes |= dict(zip(letters[1].split("->")[0], kernel.shape, strict=True))
    # The bias has the letters in the order of the output, and ones between.
    order = "".join(c for c in equation.split("->")[1] if c in axes)
    if bias is not None:
        bias = bias.reshape([sizes[c] for c in order])
    node = Einsum(kernel, bias, equation, "" if bias is None else order)
    if not node.is_known():
        raise unknown_layer(layer, f"its equation is {layer.equation!r}")
    return activate(x.then(node), layer.activation)
