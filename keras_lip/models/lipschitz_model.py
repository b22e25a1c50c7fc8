"""Models in which every layer has a proven Lipschitz bound."""

import abc
from typing import Any

import keras

from keras_lip.models.lipschitz_mixin import LipschitzMixin


class LipschitzModel(LipschitzMixin, keras.Model, metaclass=abc.ABCMeta):
    """A `keras.Model` that can be certified.

    Create, train, save and load it like a `keras.Model`, from inputs and
    outputs or by subclassing. It adds two features. First, a layer without a
    known Lipschitz bound raises an error that names the layer: for a functional
    model at construction, and for a subclassed model when a bound is computed,
    because its `call` is traced only then. Second, `compile` binds metrics such
    as `keras_lip.metrics.CertifiedAccuracy` to the model.

    Args:
        *args: Arguments of `keras.Model`: `inputs` and `outputs`.
        **kwargs: Keyword arguments of `keras.Model`.

    Raises:
        ValueError: If no bound is known for a layer.

    Example:

    >>> inputs = keras.Input((8,))
    >>> x = keras_lip.layers.OrthogonalDense(16)(inputs)
    >>> x = keras_lip.layers.MaxMin()(x)
    >>> outputs = keras_lip.layers.UnitNormDense(3)(x)
    >>> model = keras_lip.models.LipschitzModel(inputs, outputs)
    >>> isinstance(model, keras_lip.models.LipschitzModel)
    True
    """

    # To make a functional model of a subclass, Keras permanently rewrites the
    # bases of that class and of its base classes. `FunctionalLipschitzModel`
    # takes these changes, so that `LipschitzModel` can still be subclassed
    # afterwards.
    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is LipschitzModel and _is_functional(args, kwargs):
            return FunctionalLipschitzModel(*args, **kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if _is_functional(args, kwargs):
            _derive_from_functional(type(self))
            # `LipschitzModel` is no longer a base, so `super()` would not find
            # it.
            FunctionalLipschitzModel.__init__(self, *args, **kwargs)
        else:
            super().__init__(*args, **kwargs)


@LipschitzModel.register
@keras.saving.register_keras_serializable(package="keras_lip")
class FunctionalLipschitzModel(LipschitzMixin, keras.Model):
    """The class of `LipschitzModel(inputs, outputs)`."""


def _is_functional(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a model is created from inputs and outputs."""
    return len(args) >= 2 or "outputs" in kwargs


def _derive_from_functional(cls: type) -> None:
    """Replaces `LipschitzModel` by the functional class in the bases."""
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
