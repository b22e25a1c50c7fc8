"""Reads a model into a program of its operations at inference."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import keras

from keras_lip.graph import check_model
from keras_lip.graph import get_graph
from keras_lip.graph import has_open_sizes
from keras_lip.graph import is_recorded
from keras_lip.graph import match_inputs
from keras_lip.graph import run_graph
from keras_lip.held_values import holding_values
from keras_lip.held_values import reading_slots
from keras_lip.inference_calls import Telling
from keras_lip.inference_calls import get_telling
from keras_lip.inference_calls import inference_calls
from keras_lip.inference_calls import trains_by_default
from keras_lip.precision import full_precision_scope
from keras_lip.program.builder import Builder
from keras_lip.program.builder import Wire
from keras_lip.program.freezing import operations as operations
from keras_lip.program.freezing import stock as stock
from keras_lip.program.freezing.claims import read_claim
from keras_lip.program.freezing.registry import RULES
from keras_lip.program.freezing.registry import find_freezer
from keras_lip.program.freezing.registry import find_norms
from keras_lip.program.freezing.registry import find_provider
from keras_lip.program.node import SampleShape
from keras_lip.program.program import Program
from keras_lip.program.step import Origin
from keras_lip.types import Shape
from keras_lip.types import Tensor

# Two threads that read at the same time would mix their states.
_lock = threading.RLock()


@contextlib.contextmanager
def _reading(telling: Telling = Telling()) -> Iterator[None]:  # noqa: B008
    with (
        _lock,
        full_precision_scope(),
        holding_values(),
        reading_slots({}),
        inference_calls(telling),
    ):
        yield


def freeze(
    model: keras.Model,
    input_shape: Shape | None = None,
    proven: bool | str = False,
) -> Program:
    """Reads the operations and numbers of a model at inference.

    Everything is read once: the constrained kernels, steps, constants and
    activations that `call` currently uses, in its compute dtype, with autocast
    and reduced precision disabled. Nested and subclassed models are resolved.

    Args:
        model: A built model with one input and one output.
        input_shape: Shape of the inputs with batch axis. It is only used for
            sizes that the model leaves unknown. Defaults to `None`, for the
            shape that the model is built with.
        proven: Boolean. Whether to replace estimated scales of layers by scales
            that are proven to be non-expansive, or `"steps"` to replace only
            the steps of convex potential blocks. Defaults to `False`.

    Returns:
        A `Program`.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If the model is not built, has several inputs or outputs,
            takes integers, cannot be traced, or contains an unknown layer,
            which the message names; or if `input_shape` does not fit it.
    """
    check_model(model)
    with _reading(Telling.of_predict(model)):
        if input_shape is not None:
            _check_input_shape(model, input_shape)
        if not has_open_sizes(model):
            input_shape = None
        graph = get_graph(model, input_shape)
        for kind, tensors in ("input", graph.inputs), ("output", graph.outputs):
            if len(tensors) != 1:
                advice = (
                    "Make a model of the output to certify: "
                    "`keras.Model(model.inputs, model.outputs[0])`. "
                    if kind == "output"
                    else ""
                )
                raise ValueError(
                    f"Model '{model.name}' must have one {kind} to be bounded. "
                    f"{advice}Received: {len(tensors)} {kind}s"
                )
        _check_dtypes(model, graph)
        shape = input_shape or graph.inputs[0].shape
        builder = Builder(
            [tuple(shape[1:])],
            [keras.backend.standardize_dtype(graph.inputs[0].dtype)],
            _read_layer,
            proven,
        )
        _note_inputs(model, graph, builder)
        with inference_calls(
            Telling.of_predict(model).within(is_recorded(model))
        ):
            (output,) = run_graph(graph, builder.inputs, _apply)
        return builder.finish(output)


def _check_input_shape(model: keras.Model, input_shape: Shape) -> None:
    expected = getattr(model, "input_shape", None)
    if expected is None:
        # Of a subclassed model.
        expected = get_graph(model).inputs[0].shape
    if not isinstance(expected, tuple):
        # A model with several inputs has no bound.
        return
    expected, received = expected[1:], tuple(input_shape[1:])
    if not _fits(expected, received):
        raise ValueError(
            f"Model '{model.name}' takes inputs of shape {expected}, without "
            f"the batch axis. Pass an `input_shape` that fits. Received: "
            f"input_shape={received}"
        )


def freeze_layer(
    layer: Any,
    shapes: list[SampleShape] | None = None,
    proven: bool | str = False,
    own: bool = False,
) -> Program:
    """Reads the operations and numbers of a single layer at inference.

    Args:
        layer: A layer. It must be built if it has weights.
        shapes: The shapes of its inputs, without batch axis. Defaults to
            `None`, for the shapes that it was built with.
        proven: Boolean, as in `freeze`.
        own: Boolean. Whether to use the layer's `freeze` even if other methods
            override it. Defaults to `False`.

    Returns:
        A `Program` with the same number of inputs as the layer.
    """
    with _reading():
        found = built_shapes(layer) if shapes is None else shapes
        dtype = getattr(layer, "compute_dtype", "float32")
        builder = Builder(found, [dtype] * len(found), _read_layer, proven)
        return builder.finish(_read_layer(layer, builder.inputs, own))


def freeze_call(
    operation: Any,
    outputs: list[Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> list[Program]:
    """Freezes the inference of a layer or operation of a graph.

    Args:
        operation: The layer, or the operation of `keras.ops`.
        outputs: Its symbolic outputs.
        args: Positional arguments of its call, with symbolic tensors as inputs.
        kwargs: Keyword arguments of its call.

    Returns:
        A list with a `Program` for each output. Each program has one input for
        every symbolic tensor in `args` and `kwargs`.
    """
    with _reading():
        tensors = [
            leaf
            for leaf in keras.tree.flatten((args, kwargs))
            if isinstance(leaf, keras.KerasTensor)
        ]
        builder = Builder(
            [tuple(tensor.shape[1:]) for tensor in tensors],
            [keras.backend.standardize_dtype(each.dtype) for each in tensors],
            _read_layer,
        )
        wires = iter(builder.inputs)
        args, kwargs = keras.tree.map_structure(
            lambda leaf: (
                next(wires) if isinstance(leaf, keras.KerasTensor) else leaf
            ),
            (args, kwargs),
        )
        found = _apply(operation, outputs, args, kwargs)
        return [builder.finish(wire) for wire in keras.tree.flatten(found)]


def built_shapes(layer: Any) -> list[SampleShape]:
    """Returns the shapes of the inputs that a layer was built with.

    Args:
        layer: A layer.

    Returns:
        List of shapes without batch axis. `[None]` if the layer is not built.
    """
    config: dict[str, Any] = getattr(layer, "get_build_config", dict)() or {}
    shape = config.get("input_shape") or config.get("shapes_dict")
    if not shape:
        return [None]
    if isinstance(shape, dict):
        shape = next(iter(shape.values()))
    if shape and isinstance(shape[0], list | tuple):
        return [tuple(each[1:]) for each in shape]
    return [tuple(shape[1:])]


def _apply(
    layer: Any,
    outputs: list[Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    if not isinstance(layer, keras.Model):
        find_norms(layer)
    _check_call(layer, args, kwargs)
    wires = [leaf for leaf in keras.tree.flatten(args) if _is_wire(leaf)]
    for tensor in outputs:
        wires[0].builder.note_dtype(_place(layer), tensor.dtype)
    if isinstance(layer, keras.Model):
        return _apply_model(layer, args[0], wires, _tell(layer, kwargs))
    if isinstance(layer, keras.layers.Layer):
        _check_told(layer, _tell(layer, kwargs))
        if len(outputs) != 1:
            raise ValueError(
                f"Layer '{layer.name}' of type `{type(layer).__name__}` must "
                f"have one output to be bounded. Received: {len(outputs)} "
                "outputs"
            )
        return _read_layer(layer, wires)
    builder = wires[0].builder
    dtype = keras.backend.standardize_dtype(outputs[0].dtype)
    freezer = find_freezer(layer)
    if freezer is None:
        return read_claim(layer, wires, list(args), _apply)
    origin = Origin(layer.name, type(layer).__name__, "none")
    return builder.read_as(
        origin, dtype, wires, lambda: freezer(layer, *args, **kwargs)
    )


def _apply_model(
    model: keras.Model,
    argument: Any,
    wires: list[Wire],
    telling: Telling,
) -> list[Any]:
    # A subclassed model may be called with another shape than in `build`.
    known = len(wires) == 1 and wires[0].shape is not None
    shape = (None, *(wires[0].shape or ())) if known else None
    with inference_calls(telling):
        graph = get_graph(model, shape)
    _check_dtypes(model, graph)
    if wires:
        _note_inputs(model, graph, wires[0].builder)
    inputs = match_inputs(graph, argument)
    for tensor, wire in zip(graph.inputs, inputs, strict=True):
        if not _fits(tensor.shape[1:], tuple(wire.shape or ())):
            raise ValueError(
                f"Model '{model.name}' is built for inputs of shape "
                f"{tensor.shape}, and its bound may depend on this shape. "
                f"Received: input shape {(None, *(wire.shape or ()))}"
            )
    with inference_calls(telling.within(is_recorded(model))):
        return run_graph(graph, inputs, _apply)


def _fits(built: tuple[Any, ...], actual: tuple[Any, ...]) -> bool:
    """Whether a shape agrees with the known sizes of another."""
    return len(built) == len(actual) and all(
        size in (None, other) for size, other in zip(built, actual, strict=True)
    )


def _read_layer(layer: Any, wires: list[Wire], own: bool = False) -> Wire:
    """Adds a layer, or a model used as a layer, at any depth."""
    if isinstance(layer, keras.Model):
        argument = wires[0] if len(wires) == 1 else wires
        telling = (get_telling() or Telling()).inside(layer, None)
        (output,) = _apply_model(layer, argument, wires, telling)
        return output
    find_norms(layer)
    origin = Origin(
        layer.name,
        type(layer).__name__,
        getattr(layer, "guarantee", "none"),
    )
    dtype = getattr(layer, "compute_dtype", "float32")
    for part in layer._flatten_layers():
        wires[0].builder.note_dtype(_place(part), part.compute_dtype)
    wire: Wire = wires[0].builder.read_as(
        origin,
        dtype,
        wires,
        lambda: layer.freeze(*wires) if own else _write_layer(layer, wires),
    )
    return wire


def _write_layer(layer: Any, wires: list[Wire]) -> Wire:
    freezer = None if RULES.find(layer) else find_freezer(layer)
    if freezer is not None:
        wire: Wire = freezer(layer, *wires)
        return wire
    if not RULES.find(layer) and find_provider(layer) == "freeze":
        wire = layer.freeze(*wires)
        return wire
    argument = wires[0] if len(wires) == 1 else list(wires)
    return read_claim(layer, wires, argument, _apply)


def _place(layer: Any) -> str:
    kind = "Layer" if isinstance(layer, keras.layers.Layer) else "Operation"
    return f"{kind} '{layer.name}'"


def _note_inputs(model: keras.Model, graph: Any, builder: Builder) -> None:
    for tensor in graph.inputs:
        builder.note_dtype(f"The input of model '{model.name}'", tensor.dtype)


def _check_dtypes(model: keras.Model, graph: Any) -> None:
    for tensor in graph.inputs:
        if not keras.backend.is_float_dtype(tensor.dtype):
            raise ValueError(
                f"Model '{model.name}' rounds its inputs to integers, so it "
                "has no Lipschitz constant. Give its `keras.Input` a "
                f"floating-point dtype. Received: dtype={tensor.dtype!r}"
            )


def _check_call(
    layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    for name, value in kwargs.items():
        # Keras passes a list of `None` masks to models with several inputs.
        absent = all(leaf is None for leaf in keras.tree.flatten(value))
        if name == "training":
            # The graph of a functional model holds the default of augmentation
            # layers, `True`, which Keras overrides with that of the model.
            absent = value is False or (
                trains_by_default(layer) and _tell(layer, {}).argument
            )
        if not absent:
            raise ValueError(
                f"Layer '{layer.name}' is called with `{name}={value!r}`. A "
                "Lipschitz bound holds for the model at inference, without "
                "masks and other arguments."
            )
    if isinstance(layer, keras.layers.Layer) and not (
        len(args) == 1 and all(map(_is_wire, keras.tree.flatten(args)))
    ):
        raise ValueError(
            f"Layer '{layer.name}' is called on other values than its inputs, "
            "so no Lipschitz bound of the call is known."
        )


def _tell(layer: Any, kwargs: dict[str, Any]) -> Telling:
    """Returns how the parts of a called layer are told of inference."""
    outer = get_telling() or Telling()
    return outer.inside(layer, kwargs.get("training"))


def _check_told(layer: Any, telling: Telling) -> None:
    """Raises an error if a part of a layer trains in `predict`."""
    if telling.context:
        return
    for part in layer._flatten_layers():
        if trains_by_default(part):
            raise ValueError(
                f"Layer '{part.name}' is called with `training=True` in "
                "`predict` of a model, so the model has no Lipschitz constant. "
                "Give the `call` of the model an argument `training=None`, and "
                "pass it on to the layer."
            )


def _is_wire(leaf: Any) -> bool:
    return isinstance(leaf, Wire)
