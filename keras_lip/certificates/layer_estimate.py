"""The constant of one layer, estimated from below by running it."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.bounds.bound import Bound
from keras_lip.bounds.search_stretch import search_stretch
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.rebuild_model import copy_layer
from keras_lip.layers.rebuild_model import rebuild_model
from keras_lip.precision import float64_scope
from keras_lip.types import Tensor

# What stands for a size that is not known when the layer is built.
_UNKNOWN_SIZE = 16

# How far apart the inputs are that are compared.
_LENGTH = 1e-1

# The rounding errors of a layer in float64, thousands of units.
_EPSILON = 2.0**-40


def layer_estimate(output: Bound, steps: int, seed: int = 0) -> float | None:
    """Estimates, from below, by how much a layer may stretch distances.

    The layer's stock form, with the weights that run, is run in float64 on
    random inputs and on partners that gradient ascent moves to where the
    outputs part. Nothing that the proof of the bound computes is used, so that
    an estimate above the bound uncovers a mistake in either.

    Args:
        output: The bound of the output of a layer.
        steps: Positive integer. Number of steps of the ascent.
        seed: Integer. Seed of the inputs.

    Returns:
        Float; or `None` where there is nothing to run: for an operation, a
        layer of several inputs, or one without a stock form.
    """
    layer = output.layer
    shape = output.inputs[0].shape if len(output.inputs) == 1 else None
    if not isinstance(layer, keras.layers.Layer) or shape is None:
        return None
    run = _make_float64(layer, tuple(shape))
    if run is None:
        return None
    sizes = [size or _UNKNOWN_SIZE for size in shape[1:]]
    generator = np.random.default_rng(seed)
    points, directions = generator.normal(size=(2, 2, *sizes))
    with float64_scope():
        x = ops.convert_to_tensor(points, dtype="float64")
        found = search_stretch(
            run, x, directions, _LENGTH, steps, output.norm, _EPSILON
        )
    return found if math.isfinite(found) else None


def _make_float64(layer: Any, shape: tuple[Any, ...]) -> Any:
    args = (keras.KerasTensor(shape, dtype="float32"),)
    try:
        if isinstance(layer, LipschitzLayer):
            layer = layer.to_keras_layer(audited=False)
        with float64_scope():
            if isinstance(layer, keras.Model):
                stock = rebuild_model(
                    layer,
                    lambda part, args: copy_layer(part, args, "float64"),
                    dtype="float64",
                )
            else:
                stock = copy_layer(layer, args, "float64")
    except (ValueError, TypeError, NotImplementedError):
        return None

    def run(inputs: Tensor) -> Tensor:
        return stock(inputs, training=False)

    return run
