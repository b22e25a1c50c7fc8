"""Stacks of layers with proven Lipschitz bounds."""

from typing import Any

import keras

from keras_lip.bounds.check_bounded import check_bounded
from keras_lip.models.lipschitz_mixin import LipschitzMixin
from keras_lip.models.lipschitz_model import LipschitzModel


@LipschitzModel.register
@keras.saving.register_keras_serializable(package="keras_lip")
class LipschitzSequential(LipschitzMixin, keras.Sequential):
    """A `keras.Sequential` that can be certified.

    See `LipschitzModel`. A layer of unknown Lipschitz bound is refused when it
    is added. `keras.models.clone_model` turns the model into a plain
    `keras.Sequential`; `keras_lip.models.clone_model` does not.

    Args:
        *args: Those of `keras.Sequential`: the list of layers.
        **kwargs: Those of `keras.Sequential`.

    Raises:
        ValueError: If no bound is known of a layer.

    Example:

    >>> model = keras_lip.models.LipschitzSequential([
    ...     keras.Input((8,)),
    ...     keras_lip.layers.OrthogonalDense(16),
    ...     keras_lip.layers.MaxMin(),
    ...     keras_lip.layers.UnitNormDense(3),
    ... ])
    """

    def add(self, layer: Any, rebuild: bool = True) -> None:
        if isinstance(layer, keras.layers.Layer) and not isinstance(
            layer, keras.layers.InputLayer
        ):
            check_bounded(layer)
        super().add(layer, rebuild=rebuild)
