"""Converts a trained model to stock Keras."""

import keras

from keras_lip.graph import deep_recursion
from keras_lip.program import Program
from keras_lip.program import freeze


def materialize(model: keras.Model, proven: bool = False) -> keras.Model:
    """Returns a stock Keras model that computes the same function.

    Every Lipschitz layer is replaced by `keras.layers` and `keras.ops` with its
    constrained weights. These are the same numbers that the model uses at
    inference and that `keras_lip.certificates.certify` certifies. The copy is
    as fast as a plain model, can be exported anywhere and loads without
    `keras_lip`. If it is trained further, it loses its guarantee.
    `keras_lip.bounds.lipschitz_bound` recognizes most of the replacements and
    gives them the original bound: sorts, circular and Fourier convolutions,
    residual blocks. It gives a looser bound for `Householder`, `SandwichDense`,
    `SOCConv2D` and overlapping windows, and no bound for l2 norm poolings and
    projections.

    Args:
        model: A built functional or sequential model, or a subclassed one whose
            `call` can be traced. It is not modified.
        proven: Boolean. Some layers divide by an estimated norm, so their true
            norm may exceed one by the error of the estimate. If `True`, the
            copy uses scales that are proven to be non-expansive. Its outputs
            then differ slightly from the model's, so certify the copy. Defaults
            to `False`.

    Returns:
        A functional `keras.Model`.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If the model is not built, has several inputs or outputs,
            cannot be traced, or contains an unknown layer.
    """
    return program_to_keras(freeze(model, proven=proven), model)


def program_to_keras(program: Program, model: keras.Model) -> keras.Model:
    """Converts a program to a stock model, with the names of `model`."""
    (shape,), (dtype,) = program.input_shapes, program.input_dtypes
    with deep_recursion():
        inputs = keras.Input(
            shape,
            dtype=dtype,
            name=model.inputs[0].name
            if getattr(model, "inputs", None)
            else None,
        )
        outputs = program.to_keras([inputs])
        if outputs is inputs:
            # Keras 3.12 refuses a model without a layer.
            outputs = keras.layers.Identity()(outputs)
        return keras.Model(inputs, outputs, name=model.name)
