"""A stock model whose outputs are logits, labels and certified radii."""

import math
from typing import Any

import keras
from keras import ops

from keras_lip.bounds.visit_layers import visit_layers
from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.deep_recursion import deep_recursion
from keras_lip.graph import get_graph
from keras_lip.layers.core.curvature_head import CurvatureHead
from keras_lip.layers.to_keras_model import to_keras_model
from keras_lip.models.exporting.curvature_radius import CurvatureRadius
from keras_lip.models.exporting.margin_radius import MarginRadius
from keras_lip.precision import full_precision_scope

# With a larger one, what is finite might not stay so in float32.
_LARGEST_BOUND = 2.0**32

OUTPUTS = ("logits", "label", "radius")

Radius = MarginRadius | CurvatureRadius


def certified_model(
    model: keras.Model, bounds: PairBounds, logit_tolerance: float
) -> tuple[keras.Model, Radius]:
    """Adds labels and radii to the stock form of a model.

    Args:
        model: A built classifier that computes in float32.
        bounds: Its `PairBounds`.
        logit_tolerance: Float, at least zero.

    Returns:
        A functional model of `keras.layers` and `keras.ops` alone, with one
        input named `inputs` and a dict of outputs; and what computes its
        radii, which says how much of the tolerance a runtime uses up.

    Raises:
        ValueError: If a size of the inputs is not known, a layer computes in
            another dtype than float32 or is not one of Keras, or the bound is
            too large for float32.
    """
    if not bounds.lipschitz_bound <= _LARGEST_BOUND:
        raise ValueError(
            f"The Lipschitz bound of model '{model.name}' must be at most "
            f"{_LARGEST_BOUND:.3g}, so that float32 can divide by it. "
            f"Received: {bounds.lipschitz_bound!r}"
        )
    shape = _input_shape(model)
    size = math.prod(shape)
    has_head = is_curved(bounds)
    omit = bounds.last_layer if has_head else None
    with full_precision_scope(), deep_recursion():
        stock = to_keras_model(model, audited=False, omit=omit)
        _check_layers(stock)
        inputs = keras.Input(shape, dtype="float32", name="inputs")
        values = stock(inputs)
        flat = ops.reshape(inputs, (-1, size))
        radius: Radius = (
            CurvatureRadius(
                bounds, bounds.last_layer.read_weights(), logit_tolerance, size
            )
            if has_head
            else MarginRadius(bounds, logit_tolerance, size)
        )
        outputs = dict(zip(OUTPUTS, radius(flat, values), strict=True))
        return keras.Model(inputs, outputs, name=model.name), radius


def is_curved(bounds: PairBounds) -> bool:
    """Whether a model is certified by the curvature of its last layer."""
    return bounds.norm == "l2" and type(bounds.last_layer) is CurvatureHead


def _input_shape(model: keras.Model) -> tuple[int, ...]:
    shape = tuple(get_graph(model).inputs[0].shape[1:])
    if None in shape:
        raise ValueError(
            "A model is exported for inputs of known shape. Build it on a "
            "`keras.Input` with every size given. Received: input shape "
            f"{(None, *shape)}"
        )
    return shape


def _check_layers(stock: keras.Model) -> None:
    for layer in visit_layers(stock):
        if not type(layer).__module__.startswith("keras."):
            raise ValueError(
                f"Layer '{layer.name}' of type `{type(layer).__name__}` is not "
                "one of Keras or of this library, without which the exported "
                "model would not load. Write it with `keras.layers`."
            )
        dtype: Any = getattr(layer, "compute_dtype", "float32")
        if dtype != "float32":
            raise ValueError(
                "Models are exported that compute in float32. Rebuild this one "
                "under the float32 policy and load the weights. Received: "
                f"layer '{layer.name}' in {dtype}"
            )
