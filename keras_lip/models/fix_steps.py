"""Proven steps in place of estimated ones."""

from collections.abc import Iterator
from typing import Any
from typing import TypeVar

import keras

from keras_lip.graph import check_model
from keras_lip.held_values import holding_values
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.lipschitz_layer import fix_entry
from keras_lip.program import freeze
from keras_lip.types import Config

_Model = TypeVar("_Model", bound=keras.Model)


def fix_steps(model: _Model) -> _Model:
    """Returns a copy whose convex potential blocks hold steps that are proven.

    A convex potential block follows a step that it estimates, from a norm that
    it estimates from below: the step is too long by a percent or so, and the
    proven bound of the block as much above one, which a hundred blocks multiply
    to a bound that certifies little. In the copy every
    `keras_lip.layers.ConvexPotentialDense` and `ConvexPotentialConv2D` has a
    fixed `step`: the one that runs, or the longest that is proven to be
    non-expansive, whichever is shorter. Its bound is one up to the rounding of
    its weights, and it needs no power iteration to run. In a
    `keras_lip.layers.LayerStack` each block gets a step of its own; the blocks
    inside of a `ConvexPotentialExpansion` and of skew flows get theirs as well.

    Use it after training, and certify and ship the copy. Trained further, its
    steps stay what they are, and no longer fit its kernels.

    Args:
        model: A built functional or sequential model, which may hold others.
            It is left as it is.

    Returns:
        A model of the same class with the same weights, but for the states of
        power iterations. It is not compiled.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If the model is not built, it or a model inside is neither
            functional nor sequential, or a layer runs on something that a copy
            of its config and weights does not.

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
    # Steps are estimated by a hundred iterations: once, not for each reader.
    with holding_values({}):
        return _copy_with_fixed_steps(model)


def _copy_with_fixed_steps(model: _Model) -> _Model:
    copy: _Model = type(model).from_config(_fix(model))
    for old, new in zip(_flatten(model), _flatten(copy), strict=True):
        if isinstance(new, LipschitzLayer):
            new._set_fixed_weights(old)
        else:
            new.set_weights(old.get_weights())
        if hasattr(new, "finalize_state"):
            # `Normalization` computes with constants that it derives from
            # weights.
            new.finalize_state()
    if freeze(copy).digest != freeze(model, proven="steps").digest:
        raise ValueError(
            f"A copy of model '{model.name}' computes something else than the "
            "model. A layer runs on something that is neither in its config "
            "nor in its weights, such as a `Normalization` whose weights were "
            "set: call its `finalize_state()` first."
        )
    return copy


def _fix(model: keras.Model) -> Config:
    """Returns the configuration of a model, with the steps of its blocks."""
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
