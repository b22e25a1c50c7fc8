"""What a model computes, as one number that changes if anything does."""

import hashlib
import json
from typing import Any

import keras

from keras_lip.bounds.read_kernel import read_weight
from keras_lip.graph import get_graph
from keras_lip.graph import match_inputs
from keras_lip.graph import run_graph
from keras_lip.types import Tensor


def fingerprint(model: keras.Model) -> str:
    """Returns the SHA-256 of a model's architecture and weights.

    It covers, in the order of the graph and with nested models resolved, the
    class, config and weights of every layer and operation, states such as the
    vectors of power iterations included, and which outputs each is called on.
    Names do not count, nor do optimizer and compilation.

    Args:
        model: A built model.

    Returns:
        String of 64 hexadecimal digits.

    Raises:
        TypeError: If `model` is no model.
        ValueError: If it is not built or its `call` cannot be traced.
    """
    digest = hashlib.sha256()
    seen: dict[int, int] = {}
    made = 0

    def apply(
        layer: Any,
        outputs: list[Tensor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> list[Any]:
        nonlocal made
        if isinstance(layer, keras.Model):
            shapes = [tensor.shape for tensor in outputs]
            digest.update(_encode("model", shapes))
            graph = get_graph(layer)
            return run_graph(graph, match_inputs(graph, args[0]), apply)
        digest.update(_encode(_describe(layer), args, kwargs))
        if id(layer) in seen:
            digest.update(_encode("as before", seen[id(layer)]))
        else:
            seen[id(layer)] = made
            for weight in getattr(layer, "weights", []):
                digest.update(_encode(str(weight.dtype), weight.shape))
                digest.update(read_weight(weight).tobytes())
        values = [f"tensor {made + i}" for i in range(len(outputs))]
        made += len(outputs)
        return values

    graph = get_graph(model)
    inputs = [f"input {i}" for i in range(len(graph.inputs))]
    for tensor in graph.inputs:
        digest.update(_encode(tensor.shape, tensor.dtype))
    outputs = run_graph(graph, inputs, apply)
    digest.update(_encode(outputs))
    return digest.hexdigest()


def _describe(layer: Any) -> Any:
    config = layer.get_config()
    kind = type(layer)
    return f"{kind.__module__}.{kind.__qualname__}", _strip_names(config)


def _strip_names(config: Any) -> Any:
    """Returns a config without the names of layers, at any depth."""
    if isinstance(config, dict):
        return {
            key: _strip_names(value)
            for key, value in config.items()
            if key != "name"
        }
    if isinstance(config, list | tuple):
        return [_strip_names(value) for value in config]
    return config


def _encode(*parts: Any) -> bytes:
    # What JSON does not know, such as a dtype policy, says what it is.
    return json.dumps(parts, sort_keys=True, default=_serialize).encode()


def _serialize(value: Any) -> Any:
    try:
        return keras.saving.serialize_keras_object(value)
    except (TypeError, ValueError):
        return repr(value)
