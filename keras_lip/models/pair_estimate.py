"""Estimate of the Lipschitz constants of margins, in training steps."""

import dataclasses
import math
import weakref
from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import keras
from keras import activations
from keras import ops

from keras_lip.bounds.common_norm import common_norm
from keras_lip.graph import get_graph
from keras_lip.graph import match_inputs
from keras_lip.graph import run_graph
from keras_lip.layers.core.base_dense import BaseDense
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.linalg import pair_distances
from keras_lip.program import Program
from keras_lip.program.freezing.freeze import freeze_call
from keras_lip.program.freezing.registry import RULES
from keras_lip.program.freezing.registry import find_provider
from keras_lip.types import Tensor

# Computes the bound of an output from the bounds of the inputs.
_Rule = Callable[[list[Any], bool], Any]


# Not a tuple, which would be flattened with the arguments of an operation.
@dataclasses.dataclass(frozen=True)
class _Place:
    """A tensor of the graph, with the index of its bound."""

    index: int
    tensor: Tensor


class _Step(NamedTuple):
    """How to compute the bound of a tensor from the bounds before it."""

    inputs: tuple[int, ...]
    rule: _Rule
    operation: Any


class PairEstimate:
    """Estimates the Lipschitz constants of a model's margins in training.

    Layers of this library return the bound that a loss uses: one, if they
    guarantee it, or a tensor that is differentiable with respect to their
    weights. Other layers, which have no weights, are bounded once. The bounds
    are combined along the graph. If the last layer is linear, the bound before
    it is multiplied by the distances between the weights of the last layer.

    The result is not proven: norms are estimated from below, and some
    guarantees hold only up to an estimate.

    Args:
        model: The model. A model that is not built yet is read in its first
            step.
        output: Integer. Index of the output, in the order of
            `keras.tree.flatten`. Defaults to `0`.

    Raises:
        ValueError: If the output does not have the shape of class logits, if a
            layer has no bound in the l2 norm, or if a Keras layer before the
            last one is trained. The norm of such a layer is neither constrained
            nor estimated.
    """

    def __init__(self, model: keras.Model, output: int = 0) -> None:
        self._model = weakref.ref(model)
        self.output = output
        self._head: Any = None
        # One step for each tensor, starting with the inputs.
        self._steps: list[_Step] = []
        self._needed: list[int] = []
        self._classes = 0
        if model.built:
            self._plan()

    def compute(self, training: bool) -> Tensor:
        """Estimates the constants, in a step of the model.

        Args:
            training: Boolean. Whether this is a training step, which updates
                the states of estimates.

        Returns:
            Float32 tensor of shape `(classes, classes)`, zero on the diagonal.
        """
        if not self._needed:
            self._plan()
        bounds: dict[int, Any] = {}
        for index in self._needed:
            inputs, rule, _ = self._steps[index]
            bounds[index] = rule([bounds[i] for i in inputs], training)
        bound = ops.cast(bounds[self._needed[-1]], "float32")
        if self._head is not None:
            kernel = ops.cast(self._head.kernel, "float32")
            return pair_distances(kernel) * bound
        apart = 1.0 - ops.eye(self._classes, dtype="float32")
        return apart * (math.sqrt(2.0) * bound)

    def _plan(self) -> None:
        """Walks the graph once and records the computation of a step."""
        model = self._model()
        if common_norm(model) != "l2":
            raise ValueError(
                "The loss estimates Lipschitz constants in the l2 norm, but a "
                "layer of the model has no constant in this norm. Use another "
                "loss, or pass `lipschitz_bound`."
            )
        graph = get_graph(model)
        self._steps = [
            _Step((), lambda _, training: 1.0, None) for _ in graph.inputs
        ]
        start = [_Place(i, tensor) for i, tensor in enumerate(graph.inputs)]
        end = run_graph(graph, start, self._visit)[self.output]
        self._classes = end.tensor.shape[-1] or 0
        if len(end.tensor.shape) != 2 or self._classes < 2:
            raise ValueError(
                "The loss needs logits of shape `(batch_size, classes)` with "
                "at least two classes. Received: an "
                f"output of shape {tuple(end.tensor.shape)}"
            )
        last, index = self._steps[end.index], end.index
        if _is_linear(last.operation):
            self._head = last.operation
            (index,) = last.inputs
        self._needed = self._trace_back(index)
        for index in self._needed:
            _check_held(self._steps[index].operation)

    def _visit(
        self,
        operation: Any,
        outputs: list[Tensor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> list[_Place]:
        if isinstance(operation, keras.Model):
            graph = get_graph(operation)
            start = match_inputs(graph, args[0])
            return run_graph(graph, start, self._visit)
        places = [
            leaf
            for leaf in keras.tree.flatten((args, kwargs))
            if isinstance(leaf, _Place)
        ]
        if _is_ours(operation):
            rules = [_trust(operation)]
        elif _is_trained(operation):
            # Either the last layer, or `_check_held` rejects it.
            rules = [_trust(None)]
        else:
            rules = _bound_once(operation, outputs, args, kwargs)
        found = []
        for rule, tensor in zip(rules, outputs, strict=True):
            found.append(_Place(len(self._steps), tensor))
            inputs = tuple(place.index for place in places)
            self._steps.append(_Step(inputs, rule, operation))
        return found

    def _trace_back(self, end: int) -> list[int]:
        """Returns a tensor and all tensors it depends on, in order."""
        needed, waiting = set(), [end]
        while waiting:
            index = waiting.pop()
            if index not in needed:
                needed.add(index)
                waiting.extend(self._steps[index].inputs)
        return sorted(needed)


def _is_ours(operation: Any) -> bool:
    """Whether a layer belongs to this library and gives losses its bound.

    The guarantees of other layers are unknown. They are bounded once.
    """
    package = type(operation).__module__.partition(".")[0]
    return (
        isinstance(operation, LipschitzLayer)
        and package == __name__.partition(".")[0]
        and not RULES.find(operation)
        and find_provider(operation) == "freeze"
    )


def _is_trained(operation: Any) -> bool:
    """Whether a layer of Keras has weights that training changes."""
    return (
        isinstance(operation, keras.layers.Layer)
        and not RULES.find(operation)
        and find_provider(operation) is None
        and bool(operation.trainable_weights)
    )


def _is_linear(operation: Any) -> bool:
    """Whether a layer multiplies by its `kernel` and at most adds a bias."""
    return (
        isinstance(operation, BaseDense)
        or type(operation) is keras.layers.Dense
    ) and operation.activation is activations.linear


def _check_held(operation: Any) -> None:
    if _is_trained(operation):
        raise ValueError(
            f"Layer '{operation.name}' of type `{type(operation).__name__}` is "
            "trained, but its norm is neither constrained nor estimated in "
            "training, as the loss requires. Use a layer of "
            "`keras_lip.layers`, such as `OrthogonalDense`, `FreeConv2D` or "
            "`LipschitzResidualConv2D`."
        )


def _trust(layer: Any) -> _Rule:
    """Returns the rule of a layer that gives losses its bound."""

    def rule(bounds: list[Any], training: bool) -> Any:
        largest = bounds[0]
        for bound in bounds[1:]:
            if isinstance(largest, float) and isinstance(bound, float):
                largest = max(largest, bound)
            else:
                largest = ops.maximum(largest, bound)
        return largest * layer._estimate_bound(training)

    return rule


def _bound_once(
    operation: Any,
    outputs: list[Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> list[_Rule]:
    """Returns the rules of an operation whose constants do not change."""
    args, kwargs = keras.tree.map_structure(
        lambda leaf: leaf.tensor if isinstance(leaf, _Place) else leaf,
        (args, kwargs),
    )
    programs = freeze_call(operation, outputs, args, kwargs)
    return [_combine(program) for program in programs]


def _combine(program: Program) -> _Rule:
    """Returns the rule of a program: a sum, or the root of a sum of squares."""
    count = len(program.input_shapes)
    constants = []
    for index in range(count):
        alone = [0.0] * count
        alone[index] = 1.0
        constants.append(program.bounds("l2", alone).output)
    together = program.bounds("l2", [1.0] * count).output
    is_sum = count == 1 or together > 0.999 * sum(constants)

    def rule(bounds: list[Any], training: bool) -> Any:
        scaled = [c * b for c, b in zip(constants, bounds, strict=True)]
        if count == 1:
            return scaled[0]
        if is_sum:
            return sum(scaled[1:], scaled[0])
        return ops.sqrt(sum(ops.square(each) for each in scaled))

    return rule
