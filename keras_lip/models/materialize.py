"""Freeing a trained model from this library."""

import keras

from keras_lip.layers.to_keras_model import to_keras_model


def materialize(model: keras.Model) -> keras.Model:
    """Returns a stock Keras model that computes the same function.

    Every Lipschitz layer is replaced by `keras.layers` and `keras.ops` that
    hold its constrained weights. Where a layer runs on a scale that it
    estimates from below, the copy holds the scale that is proven to be
    non-expansive. The copy runs at the speed of a plain model, exports anywhere
    and loads without `keras_lip`; trained further, it loses its guarantee.

    Args:
        model: A built functional or sequential model, or a subclassed one whose
            `call` can be traced. It is left as it is.

    Returns:
        A functional `keras.Model`.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If the model is not built or cannot be traced, or a layer
            has no stock form.
    """
    return to_keras_model(model, audited=True)
