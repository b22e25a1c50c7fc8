"""The stock form of a convolution in the Fourier domain."""

from typing import Any

import keras
from keras import ops

from keras_lip.types import Array
from keras_lip.types import Tensor


def stock_fourier_convolution(layer: Any, kernel: Array) -> keras.Model:
    """Returns a model of Keras that computes what a layer of ours does.

    Args:
        layer: A built `CayleyConv2D`.
        kernel: Array. The kernel of its `FourierOperator`.

    Returns:
        A functional model of `EinsumDense` layers. The transforms are among
        them, so that their matrices are weights as well.
    """
    rows, columns = layer.operator.sides
    half, filters = columns // 2 + 1, layer.filters
    dtype = layer.free_kernel.dtype
    row_matrix, column_matrix = map(
        ops.convert_to_numpy, layer.operator.matrices(dtype)
    )
    # Parts are real and imaginary: `p` and `q` of the image, `r` and `s` of the
    # spectrum.
    row_matrix = row_matrix.reshape(rows, 2, rows, 2)
    column_matrix = column_matrix.reshape(2, half, columns)
    kernel = kernel.reshape(rows, half, 2, -1, 2, filters)
    channels = kernel.shape[3]
    steps: list[tuple[str, tuple[int, ...], Array]] = [
        ("bhwi,pkw->bhpki", (rows, 2, half, channels), column_matrix),
        ("bhpki,frhp->bfkri", (rows, half, 2, channels), row_matrix),
        ("bfkri,fkriso->bfkso", (rows, half, 2, filters), kernel),
        ("bfkso,fshq->bhqko", (rows, 2, half, filters), row_matrix),
    ]

    shape = layer.get_build_config()["input_shape"]
    inputs = outputs = keras.Input(shape[1:], dtype=layer.compute_dtype)
    if layer.data_format == "channels_first":
        outputs = ops.moveaxis(outputs, 1, -1)
    if max(layer.strides) > 1:
        outputs = layer.downsampling.to_keras_layer()(outputs)
    for equation, sizes, weight in steps:
        step = keras.layers.EinsumDense(equation, sizes, dtype=dtype)
        outputs = step(outputs)
        step.set_weights([weight])
    outputs = _add_last_step(layer, outputs, column_matrix)
    if layer.compute_dtype != dtype:
        outputs = ops.cast(outputs, layer.compute_dtype)
    if layer.data_format == "channels_first":
        outputs = ops.moveaxis(outputs, -1, 1)
    return keras.Model(inputs, outputs, name=layer.name)


def _add_last_step(layer: Any, images: Tensor, column_matrix: Array) -> Tensor:
    step = keras.layers.EinsumDense(
        "bhqko,qkw->bhwo",
        (*layer.operator.sides, layer.filters),
        activation=layer.activation,
        bias_axes="o" if layer.use_bias else None,
        dtype=layer.free_kernel.dtype,
    )
    outputs = step(images)
    bias = [ops.convert_to_numpy(layer.bias)] if layer.use_bias else []
    step.set_weights([column_matrix, *bias])
    return outputs
