"""Stacks of layers with proven Lipschitz bounds."""

from typing import Any

import keras

from keras_lip.bounds.common_norm import common_norm
from keras_lip.graph import deep_recursion
from keras_lip.models.lipschitz_mixin import LipschitzMixin
from keras_lip.models.lipschitz_model import LipschitzModel
from keras_lip.types import Config
from keras_lip.types import Shape


@LipschitzModel.register
@keras.saving.register_keras_serializable(package="keras_lip")
class LipschitzSequential(LipschitzMixin, keras.Sequential):
    """A `keras.Sequential` that can be certified.

    See `LipschitzModel`. Adding a layer without a known Lipschitz bound raises
    an error. `keras.models.clone_model` turns the model into a plain
    `keras.Sequential`; `keras_lip.models.clone_model` does not.

    Args:
        *args: Arguments of `keras.Sequential`: the list of layers.
        **kwargs: Keyword arguments of `keras.Sequential`.

    Raises:
        ValueError: If no bound is known for a layer.

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
            common_norm(layer)
            # Keras freezes the layers of a model when it is frozen, but not
            # layers that are added later.
            if not self.trainable:
                layer.trainable = False
        super().add(layer, rebuild=rebuild)

    def build(self, input_shape: Shape | None = None) -> None:
        with deep_recursion():
            super().build(input_shape)

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> Any:
        # Configs in `.h5` files contain no modules. Keras can read them.
        if not all("module" in layer for layer in config["layers"]):
            return super().from_config(config, custom_objects)
        # Keras traces the whole stack again for every layer that it adds, which
        # takes quadratic time. This method adds all layers and traces once.
        unbuilt = {**config, "layers": [], "build_input_shape": None}
        model = super().from_config(unbuilt, custom_objects)
        for layer_config in config["layers"]:
            layer = keras.saving.deserialize_keras_object(
                layer_config, custom_objects=custom_objects
            )
            model.add(layer, rebuild=False)
        if config.get("build_input_shape"):
            model.build(config["build_input_shape"])
        return model


# Files of the `.h5` format name the class of a model without its package.
keras.saving.get_custom_objects()["LipschitzSequential"] = LipschitzSequential
