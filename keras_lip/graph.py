"""The graph of a model, walked in one place.

Keras keeps the graph of a functional or sequential model in attributes that are
not part of its public interface. Nothing else in this library reads them.
"""

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras

from keras_lip.types import Shape
from keras_lip.types import Tensor

# What a walk calls at each node: the operation, its symbolic outputs, and its
# arguments with every symbolic tensor replaced by the value it stands for.
Apply = Callable[[Any, list[Tensor], tuple[Any, ...], dict[str, Any]], Any]

# Keras follows a graph from its outputs with a frame for every layer, so that
# Python's own limit of 1000 frames ends somewhat below 1000 layers.
_FRAMES = 20_000


def run_graph(model: Any, inputs: list[Any], apply: Apply) -> list[Any]:
    """Walks a model from its inputs to its outputs.

    Args:
        model: A built model, or its graph. The `call` of a subclassed model is
            traced on symbolic tensors.
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


def check_model(model: Any, needs_build: bool = True) -> None:
    """Refuses what is not a `keras.Model`, or is not built.

    Args:
        model: What was received.
        needs_build: Boolean. Whether it must be built.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If it is not built.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "A `keras.Model` is expected. Received: "
            f"{model!r} of type `{type(model).__name__}`"
        )
    if needs_build and not model.built:
        raise ValueError(
            f"Model '{model.name}' of type `{type(model).__name__}` is not "
            "built. Start it with a `keras.Input`, or call it once on a batch "
            "of data."
        )


def get_graph(model: Any, input_shape: Shape | None = None) -> Any:
    """Returns the graph that a built model computes, as a `keras.Function`.

    Args:
        model: A built model. A graph is returned as it is.
        input_shape: Shape, batch axis included, to trace the `call` of a
            subclassed model on. Defaults to the shape that it was built on.
    """
    if type(model) is keras.Function:
        return model
    check_model(model)
    if is_hooked(model) or _overrides_caller(model):
        raise _untraceable(
            model, "it has hooks, or overrides `__call__` or `forward`."
        )
    if _computes(model, keras.Sequential) and model._functional is not None:
        return model._functional
    if _computes(model, _functional_class()):
        return model
    return _trace(model, input_shape)


def get_operation(tensor: Tensor) -> Any:
    """Returns the layer or operation that made a symbolic tensor."""
    return tensor._keras_history.operation


def has_open_sizes(model: Any) -> bool:
    """Whether a model takes inputs of several shapes, beside the batch."""
    shape = getattr(model, "input_shape", None)
    return isinstance(shape, tuple) and None in shape[1:]


def is_hooked(layer: Any) -> bool:
    """Whether torch runs something else around, or instead of, a layer."""
    names = ("_forward_hooks", "_forward_pre_hooks")
    hooks = any(getattr(layer, name, None) for name in names)
    return hooks or "forward" in vars(layer)


def match_inputs(graph: Any, argument: Any) -> list[Any]:
    """Puts what a model is called on in the order of the graph's inputs."""
    if isinstance(argument, dict) and not isinstance(
        graph._inputs_struct, dict
    ):
        # Keras goes by the names of the inputs here.
        return [argument[tensor.name] for tensor in graph.inputs]
    return keras.tree.flatten(argument)


def _overrides_caller(model: keras.Model) -> bool:
    # Only on torch does Keras have a `forward`, by which it calls `call`.
    return any(
        getattr(type(model), name) is not getattr(keras.Model, name)
        for name in ("__call__", "forward")
        if hasattr(keras.Model, name)
    )


def _computes(model: keras.Model, model_class: Any) -> bool:
    """Whether a model runs the `call` of a class of Keras, unchanged."""
    return type(model).call is model_class.call and "call" not in vars(model)


def _trace(model: keras.Model, shape: Shape | None) -> Any:
    """Runs the `call` of a subclassed model on a symbolic tensor."""
    shape = shape or _built_shape(model)
    inputs = keras.KerasTensor((None, *shape[1:]), dtype=model.compute_dtype)
    operations = list(model._flatten_layers(include_self=False))
    if isinstance(model, keras.Function):
        operations += model.operations
    nodes = [
        (nodes, len(nodes))
        for operation in operations
        for nodes in (operation._inbound_nodes, operation._outbound_nodes)
    ]
    takes_training = "training" in inspect.signature(model.call).parameters
    try:
        kwargs = {"training": False} if takes_training else {}
        return keras.Function(inputs, model.call(inputs, **kwargs))
    except Exception as error:
        raise _untraceable(model, str(error)) from error
    finally:
        # The trace leaves the layers as it found them.
        for added, length in nodes:
            del added[length:]


def _built_shape(model: keras.Model) -> Shape:
    """Returns the shape of the input that a subclassed model was built on."""
    if isinstance(model, keras.Function):
        shapes = [tensor.shape for tensor in model.inputs]
        shape = shapes[0] if len(shapes) == 1 else shapes
    else:
        shape = (model.get_build_config() or {}).get("input_shape")
    if shape is None:
        raise _untraceable(model, "Keras does not know its input shape.")
    if not all(size is None or isinstance(size, int) for size in shape):
        raise _untraceable(model, f"it has inputs of several shapes, {shape}.")
    return shape


def _untraceable(model: keras.Model, why: str) -> ValueError:
    return ValueError(
        f"The `call` of model '{model.name}' of type `{type(model).__name__}` "
        f"cannot be traced on symbolic tensors: {why} Use only `keras.layers`, "
        "`keras_lip.layers` and `keras.ops` in it, or build the model with the "
        "functional API."
    )


@functools.cache
def _functional_class() -> Any:
    inputs = keras.Input((1,), name="probe_input")
    outputs = keras.layers.Identity(name="probe_layer")(inputs)
    return type(keras.Model(inputs, outputs, name="probe"))


def trace_layer(layer: Any, shapes: list[Any], dtype: str) -> Any:
    """Runs the `call` of a layer on symbolic tensors.

    Args:
        layer: A built layer.
        shapes: The shapes of its inputs, without samples.
        dtype: Name of the dtype of its inputs.

    Returns:
        A `keras.Function`.
    """
    inputs = [
        keras.KerasTensor((None, *shape), dtype=dtype) for shape in shapes
    ]
    argument = inputs[0] if len(inputs) == 1 else inputs
    kwargs = {}
    if "training" in inspect.signature(layer.call).parameters:
        kwargs["training"] = False
    inner = list(layer._flatten_layers(include_self=False))
    nodes = [
        (nodes, len(nodes))
        for operation in inner
        for nodes in (operation._inbound_nodes, operation._outbound_nodes)
    ]
    try:
        outputs = layer.call(argument, **kwargs)
        if any(outputs is tensor for tensor in inputs):
            outputs = keras.layers.Identity()(outputs)
        return keras.Function(inputs, outputs)
    finally:
        # The trace leaves the layers as it found them.
        for added, length in nodes:
            del added[length:]


@contextlib.contextmanager
def deep_recursion() -> Iterator[None]:
    """Makes a context in which Keras may trace models of many layers."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
