"""The Lipschitz layer that replaces a stock layer with a kernel."""

from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from keras_lip.layers import LipschitzDense
from keras_lip.layers import OrthogonalDense
from keras_lip.layers import UnitNormDense
from keras_lip.models.importing.conversion_options import CONVOLUTIONS
from keras_lip.models.importing.conversion_options import Options
from keras_lip.read_weight import read_weight
from keras_lip.types import Array
from keras_lip.types import Shape


class Counterpart(NamedTuple):
    """A built Lipschitz layer, and its differences from the stock layer.

    Attributes:
        layer: The layer, without activation. Its free kernel is the trained
            kernel.
        moved: Float. As in `keras_lip.models.ConvertedLayer`.
        scale: Float. The Frobenius norm of the trained kernel divided by the
            Frobenius norm of the new kernel.
    """

    layer: Any
    moved: float
    scale: float


def make_counterpart(
    layer: Any,
    norm: Any,
    input_shape: Shape,
    input_scale: float,
    options: Options,
    head: bool,
) -> Counterpart:
    """Makes the Lipschitz layer of a stock layer.

    Args:
        layer: A built `Dense`, `Conv1D`, `Conv2D` or `Conv2DTranspose`.
        norm: The `BatchNormalization` to fold into the layer, or `None`.
        input_shape: Shape of its inputs.
        input_scale: Float. Factor by which the previous layers shrink the
            inputs. The bias is divided by it as well.
        options: The `Options` of the conversion.
        head: Boolean. Whether the layer computes logits.

    Returns:
        A `Counterpart`.
    """
    kernel = read_weight(layer.kernel)
    bias = read_weight(layer.bias) if layer.use_bias else None
    if norm is not None:
        kernel, bias = _fold(kernel, bias, norm, _output_axis(layer))
    made = _make_layer(layer, bias is not None, options, head)
    made.build(tuple(input_shape))
    made.free_kernel.assign(kernel.astype("float32"))
    moved, scale = _compare(kernel, read_weight(made.kernel))
    if bias is not None:
        made.bias.assign((bias / (input_scale * scale)).astype("float32"))
    made.trainable = layer.trainable
    return Counterpart(made, moved, scale)


def _make_layer(
    layer: Any, use_bias: bool, options: Options, head: bool
) -> Any:
    shared = {
        "use_bias": use_bias,
        "kernel_regularizer": layer.kernel_regularizer,
        "bias_regularizer": layer.bias_regularizer,
        "name": layer.name,
        "dtype": layer.dtype_policy,
    }
    if type(layer) is not keras.layers.Dense:
        names = ("strides", "padding", "data_format", "dilation_rate")
        shape = {name: getattr(layer, name) for name in names}
        if getattr(layer, "groups", 1) > 1:
            shape["groups"] = layer.groups
        maker = CONVOLUTIONS[options.convolution][type(layer)]
        size = layer.kernel_size
        return maker(
            layer.filters, size, padding_mode="zeros", **shape, **shared
        )
    if head and options.unit_norm_head:
        return UnitNormDense(layer.units, **shared)
    parametrization = options.parametrization
    dense = OrthogonalDense if parametrization.orthogonal else LipschitzDense
    return dense(layer.units, parametrization=parametrization, **shared)


def _output_axis(layer: Any) -> int:
    """Returns the output axis of the kernel."""
    return -2 if type(layer) is keras.layers.Conv2DTranspose else -1


def _fold(
    kernel: Array, bias: Array | None, norm: Any, axis: int
) -> tuple[Array, Array]:
    """Folds a batch normalization into the kernel and bias of a layer."""
    mean = read_weight(norm.moving_mean)
    factor = 1 / np.sqrt(read_weight(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        factor = factor * read_weight(norm.gamma)
    shift = (-mean if bias is None else bias - mean) * factor
    if norm.center:
        shift = shift + read_weight(norm.beta)
    shape = [1] * kernel.ndim
    shape[axis] = -1
    return kernel * factor.reshape(shape), shift


def _compare(trained: Array, runs: Array) -> tuple[float, float]:
    """Returns the relative change of a kernel, and its scale."""
    before, after = np.linalg.norm(trained), np.linalg.norm(runs)
    if before == 0 or after == 0:
        # One kernel is zero: all of the other is lost, unless it is also zero.
        return float(before > 0 or after > 0), 1.0
    scale = before / after
    moved = np.linalg.norm(trained / before - runs / after)
    return float(moved), float(scale)
