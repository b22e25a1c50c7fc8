"""Executions of whole models."""

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_lip.certificates.execution import upward
from keras_lip.certificates.execution.arithmetic import Arithmetic
from keras_lip.certificates.execution.block_bound import block_bound
from keras_lip.certificates.execution.execute import Machine
from keras_lip.certificates.execution.execute import execute
from keras_lip.certificates.execution.execute import refuse
from keras_lip.certificates.execution.execution import Execution
from keras_lip.certificates.execution.execution import start_execution
from keras_lip.graph import get_graph
from keras_lip.graph import match_inputs
from keras_lip.graph import run_graph
from keras_lip.layers.core.layer_stack import LayerStack
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.types import Array
from keras_lip.types import Tensor


class ModelExecution:
    """Bounds every execution of a model's stock form.

    The stock form is that of `to_keras_layer(audited=False)`, which holds the
    weights that run. It is made, and its weights are measured, when a layer is
    first met: the weights must not change after that.

    Args:
        model: A built model with one input and one output.
        arithmetic: The `Arithmetic` of the executions.
    """

    def __init__(self, model: keras.Model, arithmetic: Arithmetic) -> None:
        self.model = model
        self._machine = Machine(arithmetic)
        self._blocks: dict[int, tuple[Any, float | None]] = {}
        self._stacks: dict[int, keras.Model] = {}

    def __call__(self, x: Array) -> Execution:
        """Returns the execution of the output at a batch of inputs.

        Raises:
            ValueError: If the roundings of a layer are not accounted for.
        """
        inputs = start_execution(x, self._machine.arithmetic)
        (outputs,) = run_graph(self.model, [inputs], self._apply)
        return outputs

    def _apply(
        self,
        layer: Any,
        outputs: list[Tensor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        for name, value in kwargs.items():
            if any(leaf is not None for leaf in keras.tree.flatten(value)):
                if name != "training" or value is not False:
                    refuse(layer, f"it is called with `{name}`", self._machine)
        if isinstance(layer, keras.Model):
            return self._run(layer, args[0])
        if isinstance(layer, LayerStack):
            if id(layer) not in self._stacks:
                self._stacks[id(layer)] = layer.unstack()
            return self._run(self._stacks[id(layer)], args[0])
        if isinstance(layer, LipschitzLayer):
            self._machine.check_dtype(layer)
            return self._apply_block(layer, args)
        return execute(layer, args, self._machine)

    def _run(self, model: keras.Model, argument: Any) -> list[Execution]:
        graph = get_graph(model)
        return run_graph(graph, match_inputs(graph, argument), self._apply)

    def _apply_block(self, layer: Any, args: tuple[Any, ...]) -> Any:
        if id(layer) not in self._blocks:
            stock = layer.to_keras_layer(audited=False)
            is_model = isinstance(stock, keras.Model)
            bound = block_bound(layer, stock) if is_model else None
            self._blocks[id(layer)] = (stock, bound)
        stock, bound = self._blocks[id(layer)]
        if bound is None:
            return self._apply(stock, [], args, {})
        (inputs,) = args
        (outputs,) = self._run(stock, _restart(inputs))
        return _grow(inputs, outputs, bound)


def _restart(inputs: Execution) -> Execution:
    """Makes the execution of a block's input, as if it were a model's.

    What an execution feeds into the block is exact by definition: it is another
    point within `spread` of `value`.
    """
    return dataclasses.replace(
        inputs,
        center=np.zeros_like(inputs.center),
        drift=inputs.spread,
        error=np.zeros_like(inputs.error),
        linear=None,
        source=None,
    )


def _grow(inputs: Execution, outputs: Execution, bound: float) -> Execution:
    """Adds what a block rounds to what its input's errors grow to.

    With the block's exact function `g` and any execution `G` of it,
    `|G(F(x')) - g(f(x'))| <= |G(F(x')) - g(F(x'))| + bound |F(x') - f(x')|`.
    """
    grown = inputs.with_value(outputs.value, bound)
    return dataclasses.replace(
        grown,
        center=upward.add(grown.center, outputs.center),
        error=upward.add(grown.error, outputs.error),
        limit=outputs.limit,
    )
