"""Lipschitz constants of a model's margins, one for each pair of classes.

The margin of class `i` over class `j` is a Lipschitz function of the input.
Its constant depends on how the model ends.
"""

import math
from typing import Any
from typing import NamedTuple

import numpy as np

from keras_lip.program import Program
from keras_lip.program.bounding import ProgramBounds
from keras_lip.program.node import Node
from keras_lip.program.nodes.affine import Affine
from keras_lip.program.nodes.curvature_head import CurvatureHead
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.elementwise import Elementwise
from keras_lip.program.nodes.elementwise import Softmax
from keras_lip.program.nodes.merges import Combine
from keras_lip.program.nodes.merges import Concatenate
from keras_lip.program.nodes.merges import Join
from keras_lip.program.nodes.selections import Selection
from keras_lip.program.step import Step
from keras_lip.proofs.rounding import multiply_up
from keras_lip.types import Array

# Maximal change of a difference of two logits, if the vector of logits changes
# by one.
JOINT_FACTORS = {
    "l2": math.nextafter(math.sqrt(2.0), math.inf),
    "linf": 2.0,
}

# Names of the methods that prove the constants.
METHODS = {
    "scalar": "scalar output, |f| / L",
    "curvature": "curvature head, the largest of dual, closed form and margin",
    "branches": "separate branches, margin / (L_i + L_j)",
    "joint l2": "jointly Lipschitz logits, margin / (sqrt(2) L)",
    "joint linf": "jointly Lipschitz logits, margin / (2 L)",
    "linear l2": "linear head, margin / (L_trunk |w_i - w_j|)",
    "linear linf": "linear head, margin / (L_trunk |w_i - w_j|_1)",
}


class PairBounds(NamedTuple):
    """Proven constants of a classifier's margins.

    Attributes:
        matrix: Array of shape `(classes, classes)`, float64. Entry `(i, j)`
            bounds the Lipschitz constant of `f_i - f_j`. For a model with one
            output it is `[[L]]`, the constant of `f`.
        lipschitz_bound: Float. The bound of the whole model.
        trunk_bound: Float. The bound of all layers before the last one, or of
            the whole model if the last layer has several inputs.
        kind: String. Type of the last layer, a key of `METHODS`.
        norm: `"l2"` or `"linf"`. Norm of input perturbations.
    """

    matrix: Array
    lipschitz_bound: float
    trunk_bound: float
    kind: str
    norm: str

    @property
    def method(self) -> str:
        """Names of the methods that prove the constants."""
        return METHODS[self.kind]


def bound_pairs(program: Program, bounds: ProgramBounds) -> PairBounds:
    """Bounds the margins between the outputs of a program.

    If the last layer is linear with weights `w_i`, the margin `f_i - f_j` has
    the constant `L_trunk * |w_i - w_j|`, in the dual norm of the features'
    norm: l2, or l1 for l-infinity. For any jointly `L`-Lipschitz logits the
    constant is `sqrt(2) * L`, or `2 * L` in l-infinity. If logits of separate
    branches are concatenated, it is the sum of the constants of the two
    branches. The smallest valid constant is used.

    Args:
        program: The `Program` of a classifier.
        bounds: Its `ProgramBounds`.

    Returns:
        `PairBounds`.

    Raises:
        ValueError: If the output does not have the shape of a classifier, or
            the model ends in a softmax or sigmoid, or its single output is a
            sum without negative weights, a maximum or a selection of sigmoids.

    Reference:

    - [Tsuzuku et al., 2018](https://arxiv.org/abs/1802.04034), Proposition 1
    - [Singla et al., 2022](https://arxiv.org/abs/2108.04062), Proposition 3
    """
    shape, output, norm = program.output_shape, bounds.output, bounds.norm
    if shape is None or len(shape) != 1 or shape[0] is None:
        found = None if shape is None else (None, *shape)
        raise ValueError(
            "A classifier must have an output of shape `(batch_size, classes)` "
            f"or `(batch_size, 1)`. Received: output shape {found}"
        )
    last = program.step_of(program.output)
    _check_logits(program)
    classes = shape[0]
    trunk = output
    if last is not None and len(last.inputs) == 1:
        trunk = bounds.values[last.inputs[0]]
    node = None if last is None else last.node
    if classes == 1:
        matrix = np.full((1, 1), output)
        kind = "curvature" if isinstance(node, CurvatureHead) else "scalar"
        return PairBounds(matrix, output, trunk, kind, norm)
    joint = multiply_up(JOINT_FACTORS[norm], output)
    matrix, kind = np.full((classes, classes), joint), f"joint {norm}"
    if isinstance(node, CurvatureHead):
        kind = "curvature"
    elif isinstance(node, Concatenate) and last is not None:
        branches = [bounds.values[index] for index in last.inputs]
        sizes = [(program.shape_of(i) or (1,))[-1] or 1 for i in last.inputs]
        matrix = np.minimum(matrix, _bound_branches(branches, sizes, norm))
        kind = "branches"
    elif isinstance(node, Dense):
        pairs = _distances_up(node.kernel, norm) * trunk
        pairs = np.nextafter(pairs, math.inf)
        # NaN means that no bound is known, so it becomes `inf`.
        pairs = np.where(np.isnan(pairs), math.inf, pairs)
        if not node.is_finite:
            pairs[:] = math.inf
        matrix = np.minimum(matrix, pairs)
        kind = f"linear {norm}"
    return PairBounds(matrix, output, trunk, kind, norm)


def _bound_branches(bounds: list[float], sizes: list[int], norm: str) -> Array:
    """Bounds the margins between logits of separate branches.

    Each logit has the Lipschitz constant of its branch, and a margin between
    two branches has the sum of their constants.
    """
    own = np.repeat(np.array(bounds, dtype="float64"), sizes)
    index = np.repeat(np.arange(len(sizes)), sizes)
    apart = np.nextafter(own[:, None] + own[None, :], math.inf)
    joint = np.nextafter(JOINT_FACTORS[norm] * own, math.inf)
    return np.where(index[:, None] == index, joint[:, None], apart)


def _distances_up(kernel: Array, norm: str) -> Array:
    """Returns the distances between all columns, rounded up.

    The distances are in the dual norm of `norm`.
    """
    rows, classes = kernel.shape
    distances = np.zeros((classes, classes))
    # A sum of n terms has fewer than n + 2 rounding errors, in any order.
    slack = 1 + (rows + 4) * 2.0**-52
    for column in range(classes):
        difference = kernel - kernel[:, column : column + 1]
        if norm == "linf":
            distances[column] = np.sum(np.abs(difference), axis=0) * slack
            continue
        largest = np.max(np.abs(difference), axis=0)
        scale = np.where(largest > 0, largest, 1.0)
        squares = np.sum(np.square(difference / scale), axis=0)
        distances[column] = np.sqrt(squares) * scale * slack
    # Two products of subnormal numbers lose less than two of their spacings.
    above = np.nextafter(np.nextafter(distances, np.inf), np.inf)
    return np.where(distances == 0, 0.0, above)


def _check_logits(program: Program) -> None:
    """Raises an error if the outputs are probabilities."""
    last = program.step_of(program.output)
    found = None if last is None else _name_probability(last.node)
    if found is None and program.output_shape == (1,):
        # A single output predicts by its sign, which a probability hides, also
        # an average of several. The largest of several probabilities predicts
        # what the largest logit does.
        last = _find_probability(program, program.output)
        found = None if last is None else _name_probability(last.node)
    if found is not None and last is not None:
        raise ValueError(
            f"The model ends in a `{found}`, of layer "
            f"'{program.origins[last.origin].name}'. Certificates compare "
            "logits: remove the activation, and train with a loss on logits."
        )


def _name_probability(node: Node) -> str | None:
    """Returns the name of a function with values from zero to one."""
    if isinstance(node, Softmax):
        return "softmax"
    if isinstance(node, Elementwise) and node.function.endswith("sigmoid"):
        return None if node.function == "log_sigmoid" else node.function
    return None


def _find_probability(program: Program, index: int) -> Step | None:
    """Returns a step whose probabilities make up a tensor without a sign.

    They may be moved, or combined and scaled by numbers that are not negative.
    """
    step = program.step_of(index)
    if step is None or _name_probability(step.node) is not None:
        return step
    node = step.node
    numbers: tuple[Any, ...] = ()
    if isinstance(node, Affine):
        numbers = node.scale, node.offset
    elif isinstance(node, Combine):
        numbers = node.weights
    elif not isinstance(node, Join | Selection):
        return None
    if any(np.min(each) < 0 for each in numbers):
        return None
    found = [_find_probability(program, each) for each in step.inputs]
    return None if None in found else found[0]
