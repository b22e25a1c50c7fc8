"""Freeing a trained model from this library."""

import keras

from keras_lip.graph import deep_recursion
from keras_lip.program import Program
from keras_lip.program import freeze


def materialize(model: keras.Model, proven: bool = False) -> keras.Model:
    """Returns a stock Keras model that computes the same function.

    Every Lipschitz layer is replaced by `keras.layers` and `keras.ops` that
    hold its constrained weights: the very numbers that run at inference, and
    that `keras_lip.certificates.certify` proves of. The copy runs at the speed
    of a plain model, exports anywhere and loads without `keras_lip`; trained
    further, it loses its guarantee. Most of what it is written out of is
    recognized by `keras_lip.bounds.lipschitz_bound`, which has the bound of the
    original: sorts, circular and Fourier convolutions, residual blocks. Of
    `Householder`, `SandwichDense`, `SOCConv2D` and windows that overlap it has
    a looser one, and of l2 norm poolings and projections none.

    Args:
        model: A built functional or sequential model, or a subclassed one whose
            `call` can be traced. It is left as it is.
        proven: Boolean. A layer may run on a scale that it estimates from
            below, and exceed a norm of one by the error of the estimate. If
            true, the copy holds scales that are proven to be non-expansive
            instead, and computes something else by as much: certify the copy.
            Defaults to `False`.

    Returns:
        A functional `keras.Model`.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If the model is not built, has several inputs or outputs or
            cannot be traced, or a layer is not known.
    """
    return program_to_keras(freeze(model, proven=proven), model)


def program_to_keras(program: Program, model: keras.Model) -> keras.Model:
    """Writes a program down as a stock model, with the names of a model."""
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
        return keras.Model(inputs, outputs, name=model.name)
