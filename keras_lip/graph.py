"""Access to the graph of a model.

Keras stores the graph of a functional or sequential model in attributes that
are not part of its public API. Only this file reads them.
"""

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras

from keras_lip.inference_calls import Telling
from keras_lip.inference_calls import get_telling
from keras_lip.inference_calls import inference_calls
from keras_lip.inference_calls import takes_training
from keras_lip.types import Shape
from keras_lip.types import Tensor

# Function that a walk calls at each node, with the operation, its symbolic
# outputs, and its arguments, in which values replace symbolic tensors.
Apply = Callable[[Any, list[Tensor], tuple[Any, ...], dict[str, Any]], Any]

# Keras traverses a graph from its outputs recursively, with a frame for each
# layer. With Python's default limit of 1000 frames this fails for a little
# under 1000 layers.
_FRAMES = 20_000

# What `keras.Model.predict` runs before it calls the model.
_PREDICT = (
    "predict",
    "predict_step",
    "predict_on_batch",
    "stateless_call",
    "make_predict_function",
)


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
    """Raises an error unless `model` is a built `keras.Model`.

    Args:
        model: The value to check.
        needs_build: Boolean. Whether the model must be built.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If the model is not built.
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


def check_predict(model: keras.Model) -> None:
    """Raises an error if `predict` may compute another function than `call`.

    Args:
        model: The model.

    Raises:
        ValueError: If a user has defined `predict` or what it runs.
    """
    for name in _PREDICT:
        if has_own_method(model, name):
            raise ValueError(
                f"Model '{model.name}' of type `{type(model).__name__}` has a "
                f"`{name}` of its own, so `predict` may return something else "
                "than the function that is certified, which is its `call`. Put "
                "the operation into the model; or certify "
                "`keras.Model` of its inputs and outputs, which has Keras's "
                "`predict`."
            )


def has_own_method(layer: Any, name: str) -> bool:
    """Whether a method is defined neither by Keras nor by this library."""
    method = getattr(layer, name, None)
    if method is None:
        return False
    # A method set on the instance may be any function, without a class.
    function = getattr(method, "__func__", None)
    if function is None or name in vars(layer):
        return True
    module = str(getattr(inspect.unwrap(function), "__module__", ""))
    return not module.startswith(("keras.", "keras_lip."))


def get_graph(model: Any, input_shape: Shape | None = None) -> Any:
    """Returns the graph that a built model computes, as a `keras.Function`.

    Args:
        model: A built model. A graph is returned unchanged.
        input_shape: Input shape with batch axis, for tracing the `call` of a
            subclassed model. Defaults to `None`, for the shape that it was
            built with.
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
    """Returns the layer or operation that created a symbolic tensor."""
    return tensor._keras_history.operation


def has_open_sizes(model: Any) -> bool:
    """Whether a model takes inputs of several shapes, except the batch axis."""
    shape = getattr(model, "input_shape", None)
    return isinstance(shape, tuple) and None in shape[1:]


def is_hooked(layer: Any) -> bool:
    """Whether torch runs hooks around a layer, or something else instead."""
    names = ("_forward_hooks", "_forward_pre_hooks")
    hooks = any(getattr(layer, name, None) for name in names)
    if keras.backend.backend() == "torch":
        # Hooks of all modules.
        from torch.nn.modules import module

        hooks |= any(getattr(module, f"_global{name}", None) for name in names)
    return hooks or "forward" in vars(layer)


def is_recorded(model: Any) -> bool:
    """Whether Keras runs the graph of a model, and not a `call` of a user."""
    if type(model) is keras.Function:
        return True
    return _computes(model, keras.Sequential) or _computes(
        model, _functional_class()
    )


def match_inputs(graph: Any, argument: Any) -> list[Any]:
    """Returns the call argument of a model in the order of its inputs."""
    if isinstance(argument, dict) and not isinstance(
        graph._inputs_struct, dict
    ):
        # Keras matches a dict by the names of the inputs.
        return [argument[tensor.name] for tensor in graph.inputs]
    return keras.tree.flatten(argument)


def _overrides_caller(model: keras.Model) -> bool:
    # Keras layers only have a `forward`, which runs `call`, on torch.
    return any(
        getattr(type(model), name) is not getattr(keras.Model, name)
        for name in ("__call__", "forward")
        if hasattr(keras.Model, name)
    )


def _computes(model: keras.Model, model_class: Any) -> bool:
    """Whether a model uses the unchanged `call` of a Keras class."""
    return type(model).call is model_class.call and "call" not in vars(model)


def _trace(model: keras.Model, shape: Shape | None) -> Any:
    """Traces the `call` of a subclassed model on a symbolic tensor."""
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
    reading = get_telling()
    telling = reading or Telling.of_predict(model)
    kwargs = {}
    if takes_training(model):
        kwargs["training"] = False if telling.argument else None
    try:
        with inference_calls(telling):
            graph = keras.Function(inputs, model.call(inputs, **kwargs))
    except Exception as error:
        raise _untraceable(model, str(error)) from error
    finally:
        # Restores the state of the layers after the trace.
        for added, length in nodes:
            del added[length:]
    if reading is not None:
        _check_inference(model, graph)
    return graph


def _check_inference(model: keras.Model, graph: Any) -> None:
    """Raises an error if a traced model calls layers as in training."""
    for _, nodes in sorted(graph._nodes_by_depth.items(), reverse=True):
        for node in nodes:
            if not node.is_input and node.arguments.kwargs.get("training"):
                raise ValueError(
                    f"Layer '{node.operation.name}' is called with "
                    "`training=True` in `predict` of model "
                    f"'{model.name}' of type `{type(model).__name__}`, so the "
                    "model has no Lipschitz constant. Give its `call` an "
                    "argument `training=None`, and pass it on to the layer."
                )


def _built_shape(model: keras.Model) -> Shape:
    """Returns the input shape that a subclassed model was built with."""
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
    """Traces the `call` of a layer on symbolic tensors.

    Args:
        layer: A built layer.
        shapes: The shapes of its inputs, without batch axis.
        dtype: Name of the dtype of its inputs.

    Returns:
        A `keras.Function`.
    """
    inputs = [
        keras.KerasTensor((None, *shape), dtype=dtype) for shape in shapes
    ]
    argument = inputs[0] if len(inputs) == 1 else inputs
    kwargs = {"training": False} if takes_training(layer) else {}
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
        # Restores the state of the layers after the trace.
        for added, length in nodes:
            del added[length:]


@contextlib.contextmanager
def deep_recursion() -> Iterator[None]:
    """Makes a context in which Keras can trace models with many layers."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
