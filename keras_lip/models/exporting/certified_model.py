"""A stock model whose outputs are logits, labels and certified radii."""

import dataclasses
import math

import keras
from keras import ops

from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.graph import deep_recursion
from keras_lip.models.exporting.curvature_radius import CurvatureRadius
from keras_lip.models.exporting.margin_radius import MarginRadius
from keras_lip.program import Program
from keras_lip.program.nodes.curvature_head import CurvatureHead

# With a larger one, what is finite might not stay so in float32.
_LARGEST_BOUND = 2.0**32

OUTPUTS = ("logits", "label", "radius")

Radius = MarginRadius | CurvatureRadius


def certified_model(
    program: Program, name: str, bounds: PairBounds, logit_tolerance: float
) -> tuple[keras.Model, Radius]:
    """Adds labels and radii to the stock form of a program.

    Args:
        program: The `Program` of a classifier that computes in float32.
        name: Name of the model.
        bounds: Its `PairBounds`.
        logit_tolerance: Float, at least zero.

    Returns:
        A functional model of `keras.layers` and `keras.ops` alone, with one
        input named `inputs` and a dict of outputs; and what computes its
        radii, which says how much of the tolerance a runtime uses up.

    Raises:
        ValueError: If a size of the inputs is not known, a step computes in
            another dtype than float32, or the bound is too large for float32.
    """
    if not bounds.lipschitz_bound <= _LARGEST_BOUND:
        raise ValueError(
            f"The Lipschitz bound of model '{name}' must be at most "
            f"{_LARGEST_BOUND:.3g}, so that float32 can divide by it. "
            f"Received: {bounds.lipschitz_bound!r}"
        )
    shape = _input_shape(program)
    size = math.prod(shape)
    head = find_head(program, bounds)
    body = program if head is None else _without_last(program)
    _check_dtypes(body)
    with deep_recursion():
        inputs = keras.Input(shape, dtype="float32", name="inputs")
        values = body.to_keras([inputs])
        flat = ops.reshape(inputs, (-1, size))
        radius: Radius = (
            MarginRadius(bounds, logit_tolerance, size)
            if head is None
            else CurvatureRadius(bounds, head, logit_tolerance, size)
        )
        outputs = dict(zip(OUTPUTS, radius(flat, values), strict=True))
        return keras.Model(inputs, outputs, name=name), radius


def find_head(program: Program, bounds: PairBounds) -> CurvatureHead | None:
    """Returns the head by whose curvature a program is certified."""
    last = program.step_of(program.output)
    if bounds.norm != "l2" or last is None:
        return None
    return last.node if isinstance(last.node, CurvatureHead) else None


def _without_last(program: Program) -> Program:
    """Returns what a program's last step is applied to."""
    (source,) = program[program.output].inputs
    return dataclasses.replace(program, output=source).pruned()


def _input_shape(program: Program) -> tuple[int, ...]:
    shape = program.input_shapes[0] or (None,)
    if None in shape:
        raise ValueError(
            "A model is exported for inputs of known shape. Build it on a "
            "`keras.Input` with every size given. Received: input shape "
            f"{(None, *shape)}"
        )
    return tuple(size or 0 for size in shape)


def _check_dtypes(program: Program) -> None:
    for step in program.steps:
        if step.dtype != "float32":
            raise ValueError(
                "Models are exported that compute in float32. Rebuild this one "
                "under the float32 policy and load the weights. Received: "
                f"layer '{program.origins[step.origin].name}' in {step.dtype}"
            )
