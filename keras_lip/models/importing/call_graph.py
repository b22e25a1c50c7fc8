"""The calls of a graph, and which call makes or uses each tensor."""

import collections
import dataclasses
from typing import Any

import keras

from keras_lip.graph import run_graph
from keras_lip.types import Tensor


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a layer or operation, on symbolic tensors."""

    operation: Any
    inputs: list[Tensor]
    outputs: list[Tensor]


class CallGraph:
    """The calls of a graph. A nested model counts as one call.

    Args:
        graph: The result of `keras_lip.graph.get_graph`.

    Attributes:
        calls: List of `Call`, in the order of execution.
        outputs: List of the output tensors of the graph.
        makers: Dict from the `id` of each tensor to the call that makes it.
    """

    def __init__(self, graph: Any) -> None:
        self.calls: list[Call] = []
        self.outputs: list[Tensor] = run_graph(
            graph, graph.inputs, self._record
        )
        self.makers = {
            id(tensor): call for call in self.calls for tensor in call.outputs
        }
        self._uses = collections.Counter(
            id(tensor)
            for tensors in (*(call.inputs for call in self.calls), self.outputs)
            for tensor in tensors
        )

    def find_maker(self, tensor: Tensor) -> Any:
        """Returns the call that makes a tensor, `None` for an input."""
        call = self.makers.get(id(tensor))
        return None if call is None else call.operation

    def count_uses(self, tensor: Tensor) -> int:
        """Counts how often a tensor is used by calls or returned."""
        return self._uses[id(tensor)]

    def _record(
        self,
        operation: Any,
        outputs: list[Tensor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> list[Tensor]:
        inputs = [
            value
            for value in keras.tree.flatten([args, kwargs])
            if isinstance(value, keras.KerasTensor)
        ]
        self.calls.append(Call(operation, inputs, outputs))
        return outputs
