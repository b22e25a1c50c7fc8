"""Models whose every layer has a proven Lipschitz bound."""

import abc
from typing import Any

import keras

from keras_lip.models.lipschitz_mixin import LipschitzMixin


class LipschitzModel(LipschitzMixin, keras.Model, metaclass=abc.ABCMeta):
    """A `keras.Model` that can be certified.

    It is made like a `keras.Model`, from inputs and outputs or by subclassing,
    and trained, saved and loaded like one. Two things are added. A functional
    model with a layer of unknown Lipschitz bound is refused at construction,
    with the layer's name; of a subclassed model the `call` is traced when a
    bound is asked for, and refused then. And metrics such as
    `keras_lip.metrics.CertifiedAccuracy` are bound to the model by `compile`.

    Args:
        *args: Those of `keras.Model`: `inputs` and `outputs`.
        **kwargs: Those of `keras.Model`.

    Raises:
        ValueError: If no bound is known of a layer.

    Example:

    >>> inputs = keras.Input((8,))
    >>> x = keras_lip.layers.OrthogonalDense(16)(inputs)
    >>> x = keras_lip.layers.MaxMin()(x)
    >>> outputs = keras_lip.layers.UnitNormDense(3)(x)
    >>> model = keras_lip.models.LipschitzModel(inputs, outputs)
    >>> isinstance(model, keras_lip.models.LipschitzModel)
    True
    """

    # Keras makes a functional model of a subclass by rewriting the bases of
    # that class, and of those that it is derived from, for good. A class of its
    # own takes that upon itself, so that `LipschitzModel` can be subclassed
    # before and after.
    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is LipschitzModel and _is_functional(args, kwargs):
            return FunctionalLipschitzModel(*args, **kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if _is_functional(args, kwargs):
            _derive_from_functional(type(self))
            # No longer a base, so that `super()` would not find it.
            FunctionalLipschitzModel.__init__(self, *args, **kwargs)
        else:
            super().__init__(*args, **kwargs)


@LipschitzModel.register
@keras.saving.register_keras_serializable(package="keras_lip")
class FunctionalLipschitzModel(LipschitzMixin, keras.Model):
    """What `LipschitzModel(inputs, outputs)` makes."""


def _is_functional(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a model is made of inputs and outputs."""
    return len(args) >= 2 or "outputs" in kwargs


def _derive_from_functional(cls: type) -> None:
    """Puts the functional class in the place of `LipschitzModel`."""
    cls.__bases__ = tuple(
        FunctionalLipschitzModel if base is LipschitzModel else base
        for base in cls.__bases__
    )
    for base in cls.__bases__:
        if LipschitzModel in base.__mro__:
            _derive_from_functional(base)


# Files of the `.h5` format name the class of a model without its package.
keras.saving.get_custom_objects()["FunctionalLipschitzModel"] = (
    FunctionalLipschitzModel
)
