"""A searched family of dense 1-Lipschitz networks."""

from typing import Any

import keras

from keras_lip.tuning import search_space
from keras_lip.tuning.base_hyper_model import BaseHyperModel


class HyperLipschitzMLP(BaseHyperModel):
    """Dense networks: depth, width, kind of layer, activation, head and loss.

    Args:
        input_shape: Tuple. Shape of one image, channels last.
        classes: Integer of at least two.
        epsilon: Positive float. Radius of the certified accuracy.
        name: String or `None`, as in `keras_tuner.HyperModel`. Defaults to
            `None`.
        tunable: Boolean, as in `keras_tuner.HyperModel`. Defaults to `True`.

    Example:

    >>> hyper_model = HyperLipschitzMLP((8, 8, 1), classes=10, epsilon=0.3)
    >>> tuner = keras_tuner.RandomSearch(
    ...     hyper_model,
    ...     keras_tuner.Objective("val_certified_accuracy", "max"),
    ...     max_trials=10,
    ... )
    >>> tuner.search(x, y, validation_data=(x_val, y_val), epochs=30)
    """

    def build_layers(self, hp: Any) -> list[keras.layers.Layer]:
        depth = hp.Choice("depth", list(search_space.MLP_DEPTHS), default=2)
        units = hp.Choice("units", list(search_space.UNITS), default=192)
        dense = search_space.choose_dense(hp)
        layers = [keras.layers.Flatten()]
        for _ in range(depth):
            layers += dense(units)
        return layers
