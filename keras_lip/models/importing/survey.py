"""A survey of a whole graph, made before its layers are converted."""

import collections
import functools
from typing import Any

import keras

from keras_lip.graph import get_graph
from keras_lip.models.importing.call_graph import Call
from keras_lip.models.importing.call_graph import CallGraph
from keras_lip.types import Tensor

KERNEL_LAYERS = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
)

# At the end of a classifier these do not change the predicted class: they keep
# the order of the logits, or of one logit and zero.
_END_ACTIVATIONS = (
    keras.activations.log_softmax,
    keras.activations.sigmoid,
    keras.activations.softmax,
)


class Survey:
    """Finds folded and dropped layers, and the layers that compute logits.

    Args:
        model: A built model.

    Attributes:
        graphs: Dict of the graphs of the model and its nested models, by `id`.
            A subclassed model is traced only once, here.
        layers: List of layers and operations, including those of nested models,
            each once and in the order of the graph.
        folds: Dict from the `id` of a layer to the batch normalization that is
            folded into its kernel and bias.
        folded: Set of the `id` of these batch normalizations.
        dropped: Set of the `id` of the dropped activations at the end.
        bare: Set of the `id` of layers at the end whose fused activation is
            dropped.
        heads: Set of the `id` of dense layers that compute logits.
    """

    def __init__(self, model: keras.Model) -> None:
        self.graphs: dict[int, Any] = {}
        self.layers: list[Any] = []
        self.folds: dict[int, Any] = {}
        self.folded: set[int] = set()
        self.dropped: set[int] = set()
        self.bare: set[int] = set()
        self.heads: set[int] = set()
        self._times: collections.Counter[int] = collections.Counter()
        self._record(model)
        for graph in self.graphs.values():
            self._find_folds(CallGraph(graph))
        self._find_end(model)

    @functools.cached_property
    def channels_first(self) -> bool:
        """Whether the layers of the model are channels-first."""
        return any(map(is_channels_first, self.layers))

    def _record(self, model: keras.Model) -> None:
        """Counts the calls of layers, including nested ones."""
        graph = self.graphs.setdefault(id(model), get_graph(model))
        for call in CallGraph(graph).calls:
            layer = call.operation
            self._times[id(layer)] += 1
            if isinstance(layer, keras.Model):
                self._record(layer)
            elif self._times[id(layer)] == 1:
                self.layers.append(layer)

    def _find_folds(self, graph: CallGraph) -> None:
        for call in graph.calls:
            norm = call.operation
            if type(norm) is not keras.layers.BatchNormalization:
                continue
            features = call.inputs[0]
            layer = graph.find_maker(features)
            if (
                type(layer) in KERNEL_LAYERS
                and layer.activation is keras.activations.linear
                and _is_of_channels(norm, layer, features)
                and graph.count_uses(features) == 1
                and self._times[id(layer)] == self._times[id(norm)] == 1
            ):
                self.folds[id(layer)] = norm
                self.folded.add(id(norm))

    def _find_end(self, model: keras.Model) -> None:
        """Walks back from the outputs to the layers that compute logits."""
        graph = CallGraph(self.graphs[id(model)])
        for tensor in graph.outputs:
            while graph.count_uses(tensor) == 1:
                call = graph.makers.get(id(tensor))
                if call is None or self._times[id(call.operation)] > 1:
                    break
                if not self._pass(call):
                    self._mark_last(call)
                    break
                tensor = call.inputs[0]

    def _pass(self, call: Call) -> bool:
        """Drops the layer of a last call, or returns that it is kept."""
        layer = call.operation
        if id(layer) in self.folded:
            return True
        ndim = len(call.outputs[0].shape)
        softmax = type(layer) is keras.layers.Softmax
        if (softmax and layer.axis in (-1, ndim - 1)) or (
            type(layer) is keras.layers.Activation
            and layer.activation in _END_ACTIVATIONS
        ):
            self.dropped.add(id(layer))
            return True
        return False

    def _mark_last(self, call: Call) -> None:
        layer = call.operation
        if isinstance(layer, keras.Model):
            if len(call.outputs) == 1:
                self._find_end(layer)
        elif type(layer) in KERNEL_LAYERS:
            if layer.activation in _END_ACTIVATIONS:
                self.bare.add(id(layer))
            linear = layer.activation is keras.activations.linear
            dense = type(layer) is keras.layers.Dense
            if dense and (linear or id(layer) in self.bare):
                self.heads.add(id(layer))


def is_channels_first(layer: Any) -> bool:
    """Whether a layer takes channels-first images."""
    return getattr(layer, "data_format", None) == "channels_first"


def _is_of_channels(norm: Any, layer: Any, features: Tensor) -> bool:
    """Whether a batch normalization acts on the output channels of a layer."""
    ndim = len(features.shape)
    axis = 1 if is_channels_first(layer) else ndim - 1
    return bool(norm.axis % ndim == axis)
