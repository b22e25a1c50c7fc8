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

# With a larger bound, finite values might overflow in float32.
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
        logit_tolerance: Non-negative float.

    Returns:
        A functional model that contains only `keras.layers` and `keras.ops`,
        with one input named `inputs` and a dict of outputs; and the object that
        computes its radii, which also measures how much of the tolerance a
        runtime uses.

    Raises:
        ValueError: If a size of the inputs is unknown, a step does not compute
            in float32, or the bound is too large for float32.
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
    """Returns the head whose curvature certifies a program, or `None`."""
    last = program.step_of(program.output)
    if bounds.norm != "l2" or last is None:
        return None
    return last.node if isinstance(last.node, CurvatureHead) else None


def _without_last(program: Program) -> Program:
    """Returns a program without its last step."""
    (source,) = program[program.output].inputs
    return dataclasses.replace(program, output=source).pruned()


def _input_shape(program: Program) -> tuple[int, ...]:
    shape = program.input_shapes[0] or (None,)
    if None in shape:
        raise ValueError(
            "Export needs inputs of known shape. Build the model on a "
            "`keras.Input` with every size given. Received: input shape "
            f"{(None, *shape)}"
        )
    return tuple(size or 0 for size in shape)


def _check_dtypes(program: Program) -> None:
    for step in program.steps:
        if step.dtype != "float32":
            raise ValueError(
                "Only models that compute in float32 can be exported. Rebuild "
                "the model under the float32 policy and load the weights. "
                f"Received: layer '{program.origins[step.origin].name}' in "
                f"{step.dtype}"
            )
