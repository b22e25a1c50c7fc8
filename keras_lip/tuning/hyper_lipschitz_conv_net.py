"""A searched family of convolutional 1-Lipschitz networks."""

from collections.abc import Callable
from typing import Any

import keras

import keras_lip as kl
from keras_lip.tuning import search_space
from keras_lip.tuning.base_hyper_model import BaseHyperModel

_POOLINGS: dict[str, Callable[..., keras.layers.Layer]] = {
    "invertible": kl.layers.InvertibleDownsampling2D,
    "average": kl.layers.ScaledAveragePooling2D,
    "l2_norm": kl.layers.L2NormPooling2D,
}


class HyperLipschitzConvNet(BaseHyperModel):
    """Convolutional networks: stages, filters, kind of convolution and head.

    A stage consists of convolutions at one image size and halves the sides of
    the image at its end. There are at most as many stages as the sides can be
    halved.

    Args:
        input_shape: Tuple. Shape of one image, channels last.
        classes: Integer of at least two.
        epsilon: Positive float. Radius of the certified accuracy.
        name: String or `None`, as in `keras_tuner.HyperModel`. Defaults to
            `None`.
        tunable: Boolean, as in `keras_tuner.HyperModel`. Defaults to `True`.

    Raises:
        ValueError: If a side of the image is odd.

    Example:

    >>> hyper_model = HyperLipschitzConvNet((28, 28, 1), 10, epsilon=0.3)
    """

    def build_layers(self, hp: Any) -> list[keras.layers.Layer]:
        stages = hp.Choice("stages", self._known_stages())
        depth = hp.Choice("depth", list(search_space.CONVOLUTIONS_PER_STAGE))
        filters = hp.Choice("filters", list(search_space.FILTERS), default=32)
        convolution = search_space.choose_convolution(hp)
        activation = search_space.choose_activation(hp)
        downsampling = hp.Choice(
            "downsampling", list(search_space.DOWNSAMPLINGS)
        )
        dense_depth = hp.Choice(
            "dense_depth", list(search_space.DENSE_DEPTHS), default=1
        )
        with hp.conditional_scope("dense_depth", [1, 2]):
            units = hp.Choice("units", list(search_space.UNITS))

        layers: list[keras.layers.Layer] = []
        for _ in range(stages):
            for _ in range(depth):
                layers += [convolution(filters), activation()]
            if downsampling == "strides":
                layers += [convolution(filters, strides=2), activation()]
            else:
                pooling = _POOLINGS[downsampling]
                layers.append(pooling(2, data_format="channels_last"))
        layers.append(keras.layers.Flatten(data_format="channels_last"))
        for _ in range(dense_depth):
            layers += [kl.layers.OrthogonalDense(units), activation()]
        return layers

    def _known_stages(self) -> list[int]:
        height, width, _ = self.input_shape
        known = [
            stages
            for stages in search_space.STAGES
            if height % 2**stages == 0 and width % 2**stages == 0
        ]
        if not known:
            raise ValueError(
                "A stage halves the sides of the image, which must be even. "
                f"Received: input_shape={self.input_shape}"
            )
        return known
