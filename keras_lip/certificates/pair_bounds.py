"""How fast a model's margins can shrink: one constant for each pair of classes.

The margin of class `i` over class `j` is a Lipschitz function of the input.
Its constant depends on how the model ends.
"""

import math
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from keras_lip.bounds.bound import Bound
from keras_lip.bounds.lipschitz_bound import output_bound
from keras_lip.bounds.read_kernel import read_kernel
from keras_lip.bounds.rounding import multiply_up
from keras_lip.layers.core.base_dense import BaseDense
from keras_lip.layers.core.curvature_head import CurvatureHead
from keras_lip.types import Array

# By how much a difference of two logits may move, if together they move by one.
JOINT_FACTORS = {
    "l2": math.nextafter(math.sqrt(2.0), math.inf),
    "linf": 2.0,
}


class PairBounds(NamedTuple):
    """Proven constants of a classifier's margins.

    Attributes:
        matrix: Array of shape `(classes, classes)`, float64. Entry `(i, j)`
            bounds the Lipschitz constant of `f_i - f_j`. For a model with one
            output it is `[[L]]`, the constant of `f`.
        lipschitz_bound: Float. The bound of the whole model.
        trunk_bound: Float. The bound up to the last layer; that of the whole
            model, where the last layer has several inputs.
        last_layer: The last layer, or operation, or `None`.
        head: The last layer, if it is linear, or `None`.
        norm: `"l2"` or `"linf"`, of perturbations of the input.
    """

    matrix: Array
    lipschitz_bound: float
    trunk_bound: float
    last_layer: Any
    head: Any
    norm: str

    @property
    def method(self) -> str:
        """What the constants rest on, in words."""
        if len(self.matrix) == 1:
            return "scalar output, |f| / L"
        if type(self.last_layer) is CurvatureHead:
            return "curvature head, the largest of dual, closed form and margin"
        if type(self.last_layer) is keras.layers.Concatenate:
            return "separate branches, margin / (L_i + L_j)"
        if self.head is None:
            factor = {"l2": "sqrt(2) L", "linf": "2 L"}[self.norm]
            return f"jointly Lipschitz logits, margin / ({factor})"
        dual = {"l2": "", "linf": "_1"}[self.norm]
        return f"linear head, margin / (L_trunk |w_i - w_j|{dual})"


def find_pair_bounds(model: keras.Model, norm: str | None = None) -> PairBounds:
    """Bounds the margins between all classes of a model.

    Where the last layer is linear, with weights `w_i`, the margin `f_i - f_j`
    has the constant `L_trunk * |w_i - w_j|`, in the norm that is dual to that
    of the features: l2, or l1 for l-infinity. Else it is `sqrt(2) * L`, as of
    any jointly `L`-Lipschitz logits, and `2 * L` in l-infinity. Where logits of
    separate branches are concatenated it is the sum of the constants of the two
    branches. The smallest one is taken.

    Args:
        model: A built model whose output has shape `(batch_size, classes)`.
        norm: `"l2"`, `"linf"`, or `None` for that of the layers' guarantees.

    Returns:
        `PairBounds`.

    Raises:
        ValueError: If the output has another shape, ends in a softmax or
            sigmoid, or no bound of the model is known.

    Reference:

    - [Tsuzuku et al., 2018](https://arxiv.org/abs/1802.04034), Proposition 1
    - [Singla et al., 2022](https://arxiv.org/abs/2108.04062), Proposition 3
    """
    return bound_pairs(output_bound(model, norm))


def bound_pairs(output: Bound) -> PairBounds:
    """Bounds the margins between the outputs of a bounded model.

    Args:
        output: The bound of the model's output.

    Returns:
        `PairBounds`.

    Raises:
        ValueError: If the output is not that of a classifier.
    """
    shape = output.shape
    if shape is None or len(shape) != 2 or shape[-1] is None:
        raise ValueError(
            "A classifier must have an output of shape `(batch_size, classes)` "
            f"or `(batch_size, 1)`. Received: output shape {shape}"
        )
    classes = shape[-1]
    _check_logits(output)
    trunk = float(output.inputs[0]) if len(output.inputs) == 1 else output
    head = output.layer if _is_linear(output.layer) else None
    if classes == 1:
        matrix, head = np.full((1, 1), float(output)), None
    else:
        joint = multiply_up(JOINT_FACTORS[output.norm], float(output))
        matrix = np.full((classes, classes), joint)
    if type(output.layer) is keras.layers.Concatenate:
        matrix = np.minimum(matrix, _bound_branches(output))
    if head is not None:
        kernel = read_kernel(head, head.kernel)
        pairs = _distances_up(kernel, output.norm) * float(trunk)
        pairs = np.nextafter(pairs, math.inf)
        # No number means no bound, so that `inf` is the honest entry.
        pairs = np.where(np.isnan(pairs), math.inf, pairs)
        matrix = np.minimum(matrix, pairs)
    return PairBounds(
        matrix, float(output), float(trunk), output.layer, head, output.norm
    )


def _bound_branches(output: Bound) -> Array:
    """Bounds the margins between logits that come from separate branches.

    Each logit moves by its own branch's constant at most: the margin between
    classes of two branches by their sum.
    """
    sizes = [int((branch.shape or (1,))[-1] or 1) for branch in output.inputs]
    own = np.repeat(np.array(output.inputs, dtype="float64"), sizes)
    index = np.repeat(np.arange(len(sizes)), sizes)
    apart = np.nextafter(own[:, None] + own[None, :], math.inf)
    joint = np.nextafter(JOINT_FACTORS[output.norm] * own, math.inf)
    return np.where(index[:, None] == index, joint[:, None], apart)


def _distances_up(kernel: Array, norm: str) -> Array:
    """Returns the distances between all columns, rounded up.

    They are those of the norm that is dual to `norm`.
    """
    rows, classes = kernel.shape
    distances = np.zeros((classes, classes))
    # A sum of n terms is off by less than n + 2 roundings, in any order.
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
    return distances


def _is_linear(layer: Any) -> bool:
    # A subclass that overrides `call` may do anything with its kernel.
    dense = type(layer) is keras.layers.Dense or (
        isinstance(layer, BaseDense) and type(layer).call is BaseDense.call
    )
    return dense and layer.activation is keras.activations.linear


def _check_logits(output: Bound) -> None:
    activation = getattr(output.layer, "activation", None)
    if activation in (keras.activations.sigmoid, keras.activations.softmax):
        raise ValueError(
            f"The model ends in a `{activation.__name__}`, of layer "
            f"'{output.layer.name}'. A certificate compares logits: remove the "
            "activation, and train with a loss on logits."
        )
