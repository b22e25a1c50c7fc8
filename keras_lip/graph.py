"""The graph of a model, walked in one place.

Keras keeps the graph of a functional or sequential model in attributes that are
not part of its public interface. Nothing else in this library reads them.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras

from keras_lip.types import Tensor

# What a walk calls at each node: the operation, its symbolic outputs, and its
# arguments with every symbolic tensor replaced by the value it stands for.
Apply = Callable[[Any, list[Tensor], tuple[Any, ...], dict[str, Any]], Any]


def run_graph(model: keras.Model, inputs: list[Any], apply: Apply) -> list[Any]:
    """Walks a model from its inputs to its outputs.

    Args:
        model: A built model. The `call` of a subclassed model is traced on
            symbolic tensors.
        inputs: One value for each input of the model.
        apply: Function of `(operation, symbolic_outputs, args, kwargs)` that
            returns the value of each output of the operation.

    Returns:
        List with one value for each output of the model.

    Raises:
        ValueError: If the model is not built or its `call` cannot be traced.
    """
    graph = get_graph(model)
    values = {
        id(tensor): value
        for tensor, value in zip(graph.inputs, inputs, strict=True)
    }
    for _, nodes in sorted(graph._nodes_by_depth.items(), reverse=True):
        for node in nodes:
            if node.is_input:
                continue
            args, kwargs = node.arguments.fill_in(values)
            outputs = apply(node.operation, node.outputs, args, kwargs)
            for tensor, value in zip(
                node.outputs, keras.tree.flatten(outputs), strict=True
            ):
                values[id(tensor)] = value
    return [values[id(tensor)] for tensor in graph.outputs]


def get_graph(model: keras.Model) -> Any:
    """Returns the graph that a built model computes, as a `keras.Function`."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            "A `keras.Model` is expected. Received: "
            f"{model!r} of type `{type(model).__name__}`"
        )
    if isinstance(model, keras.Sequential):
        if type(model).call is not keras.Sequential.call:
            return _trace(model)
        if not model.built or model._functional is None:
            raise _unbuilt(model)
        return model._functional
    if isinstance(model, keras.Function):
        overridden = type(model).call is not _functional_class().call
        return _trace(model) if overridden else model
    return _trace(model)


def get_operation(tensor: Tensor) -> Any:
    """Returns the layer or operation that made a symbolic tensor."""
    return tensor._keras_history.operation


def _trace(model: keras.Model) -> Any:
    """Runs the `call` of a subclassed model on a symbolic tensor."""
    shape = (model.get_build_config() or {}).get("input_shape")
    if not model.built or shape is None:
        raise _unbuilt(model)
    inputs = keras.KerasTensor((None, *shape[1:]), dtype=model.compute_dtype)
    layers = model._flatten_layers(include_self=False)
    lengths = [(layer, len(layer._inbound_nodes)) for layer in layers]
    takes_training = "training" in inspect.signature(model.call).parameters
    try:
        kwargs = {"training": False} if takes_training else {}
        return keras.Function(inputs, model.call(inputs, **kwargs))
    except Exception as error:
        raise ValueError(
            f"The `call` of model '{model.name}' of type "
            f"`{type(model).__name__}` cannot be traced on symbolic tensors: "
            f"{error} Use only `keras.layers`, `keras_lip.layers` and "
            "`keras.ops` in it, or build the model with the functional API."
        ) from error
    finally:
        # The trace leaves the layers as it found them.
        for layer, length in lengths:
            del layer._inbound_nodes[length:]


def _unbuilt(model: keras.Model) -> ValueError:
    return ValueError(
        f"Model '{model.name}' of type `{type(model).__name__}` is not built. "
        "Start it with a `keras.Input`, or call it once on a batch of data."
    )


@functools.cache
def _functional_class() -> Any:
    inputs = keras.Input((1,), name="probe_input")
    return type(keras.Model(inputs, inputs, name="probe"))
