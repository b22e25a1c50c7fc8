"""Replaces estimated steps by proven ones."""

from collections.abc import Iterator
from typing import Any
from typing import TypeVar

import keras

from keras_lip.graph import check_model
from keras_lip.held_values import holding_values
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.lipschitz_layer import fix_entry
from keras_lip.precision import full_precision_scope
from keras_lip.program import freeze
from keras_lip.types import Config

_Model = TypeVar("_Model", bound=keras.Model)


def fix_steps(model: _Model) -> _Model:
    """Returns a copy whose convex potential blocks have proven steps.

    A convex potential block computes its step from an estimate of a norm, which
    may be too small. The step is then about a percent too long, and the proven
    bound of the block exceeds one by about as much. Over a hundred blocks these
    bounds multiply to a bound that certifies little. In the copy every
    `keras_lip.layers.ConvexPotentialDense` and `ConvexPotentialConv2D` has a
    fixed `step`: the step used at inference, or the longest step that is proven
    to be non-expansive, whichever is shorter. The bound of the block is then
    one up to the rounding of its weights, and inference runs no power
    iteration. In a `keras_lip.layers.LayerStack` each block gets its own step.
    Blocks inside a `ConvexPotentialExpansion` or a skew flow get fixed steps as
    well.

    Use it after training, then certify and deploy the copy. If the copy is
    trained further, its steps stay fixed and no longer fit its kernels.

    Args:
        model: A built functional or sequential model, which may contain other
            models. It is not modified.

    Returns:
        A model of the same class with the same weights, without the states of
        power iterations. It is not compiled.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If the model is not built, it or a nested model is neither
            functional nor sequential, or a layer depends on something that is
            neither in its config nor in its weights.

    Example:

    >>> block = keras_lip.layers.ConvexPotentialDense(8)
    >>> model = keras_lip.models.LipschitzSequential([keras.Input((4,)), block])
    >>> fixed = keras_lip.models.fix_steps(model)
    >>> keras_lip.bounds.lipschitz_bound(fixed) < 1 + 1e-6
    True

    Reference:

    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), proposition 4
    """
    check_model(model)
    # The estimate of the steps takes a hundred iterations, so it is computed
    # only once.
    with full_precision_scope(), holding_values({}):
        return _copy_with_fixed_steps(model)


def _copy_with_fixed_steps(model: _Model) -> _Model:
    copy: _Model = type(model).from_config(_fix(model))
    for old, new in zip(_flatten(model), _flatten(copy), strict=True):
        if isinstance(new, LipschitzLayer):
            new._set_fixed_weights(old)
        else:
            new.set_weights(old.get_weights())
        if hasattr(new, "finalize_state"):
            # `Normalization` computes with constants derived from its weights.
            new.finalize_state()
    if freeze(copy).digest != freeze(model, proven="steps").digest:
        raise ValueError(
            f"A copy of model '{model.name}' computes a different function. A "
            "layer depends on something that is neither in its config nor in "
            "its weights, such as a `Normalization` whose weights were set: "
            "call its `finalize_state()` first."
        )
    return copy


def _fix(model: keras.Model) -> Config:
    """Returns the config of a model, with the proven steps of its blocks."""
    config: Config = model.get_config()
    layers = {layer.name: layer for layer in model.layers}
    entries = config.get("layers")
    if entries is None:
        raise ValueError(
            f"Model '{model.name}' must be functional or sequential, so that "
            "its layers can be copied one by one. Received: type "
            f"`{type(model).__name__}`"
        )
    return {
        **config,
        "layers": [
            _fix_entry(entry, layers.get(entry["config"]["name"]))
            for entry in entries
        ],
    }


def _fix_entry(entry: Config, layer: Any) -> Config:
    if isinstance(layer, keras.Model):
        return {**entry, "config": _fix(layer)}
    return fix_entry(entry, layer)


def _flatten(model: keras.Model) -> Iterator[Any]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _flatten(layer)
        else:
            yield layer
