"""Proven upper bounds on Lipschitz constants of models."""

import functools
from typing import Any

import keras

from keras_lip.bounds.bound import Bound
from keras_lip.bounds.find_norm import find_norm
from keras_lip.bounds.methods import collect_methods
from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.graph import get_graph
from keras_lip.graph import match_inputs
from keras_lip.graph import run_graph
from keras_lip.precision import full_precision_scope
from keras_lip.types import Tensor


def lipschitz_bound(model: keras.Model, norm: str | None = None) -> float:
    """Bounds a model's Lipschitz constant from above.

    Every layer is measured on the weights that now run, in float64 and rounded
    up; branches are joined as the graph joins them. The bound is that of the
    model at inference, on inputs of the shape that it is built for.

    Args:
        model: A built functional, sequential or subclassed model with one input
            and one output; it may nest other models. The `call` of a subclassed
            model is traced on symbolic tensors.
        norm: `"l2"` or `"linf"`, of one sample, input and output alike.
            Defaults to the norm that the guarantees of all layers hold in,
            l2 where they hold in both.

    Returns:
        Float. `|f(x) - f(y)| <= lipschitz_bound(model) * |x - y|` for all
        inputs `x` and `y`. It is infinite if a weight is not finite.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If the model is not built, has several inputs or outputs,
            takes integers, holds a layer for which no bound is known, or mixes
            layers with guarantees in different norms.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.ReLU()])
    >>> keras_lip.bounds.lipschitz_bound(model)
    1.0

    Reference:

    - [Szegedy et al., 2013](https://arxiv.org/abs/1312.6199), section 4.3, for
      the product of layer bounds.
    """
    return float(output_bound(model, norm))


def output_bound(model: keras.Model, norm: str | None = None) -> Bound:
    """Returns the bound of a model's output with the layers it came through."""
    graph = get_graph(model)
    for kind, tensors in ("input", graph.inputs), ("output", graph.outputs):
        if len(tensors) != 1:
            raise ValueError(
                f"Model '{model.name}' must have one {kind} to be bounded. "
                f"Received: {len(tensors)} {kind}s"
            )
    _check_dtypes(model, graph)
    norm = find_norm(model, norm)
    inputs = Bound(1.0, shape=graph.inputs[0].shape, norm=norm)
    with full_precision_scope():
        (bound,) = run_graph(graph, [inputs], functools.partial(_apply, norm))
    return bound


def _apply(
    norm: str,
    layer: Any,
    outputs: list[Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    _check_call(layer, args, kwargs)
    inputs = [leaf for leaf in keras.tree.flatten(args) if _is_bound(leaf)]
    if isinstance(layer, keras.Model):
        return _apply_model(norm, layer, args[0], inputs)
    # An operation sees its constants beside the bounds.
    argument: Any = list(args)
    if isinstance(layer, keras.layers.Layer):
        (argument,) = args
        if isinstance(argument, tuple):
            argument = list(argument)
    with collect_methods() as methods:
        value = propagate_bound(layer, argument, norm)
    if len(outputs) != 1:
        raise ValueError(f"Layer '{layer.name}' must have one output.")
    return Bound(
        value, outputs[0].shape, layer, tuple(inputs), tuple(methods), norm
    )


def _apply_model(
    norm: str, model: keras.Model, argument: Any, inputs: list[Bound]
) -> list[Any]:
    # A subclassed model may be called on another shape than it was built on.
    shape = inputs[0].shape if len(inputs) == 1 else None
    graph = get_graph(model, shape)
    _check_dtypes(model, graph)
    inputs = match_inputs(graph, argument)
    for tensor, bound in zip(graph.inputs, inputs, strict=True):
        if not _fits(tensor.shape, tuple(bound.shape or ())):
            raise ValueError(
                f"Model '{model.name}' is built for inputs of shape "
                f"{tensor.shape}, of which its bound may make use. Received: "
                f"input shape {bound.shape}"
            )
    return run_graph(graph, inputs, functools.partial(_apply, norm))


def _fits(built: tuple[Any, ...], actual: tuple[Any, ...]) -> bool:
    """Whether all that is known of one shape, but the batch, is of another."""
    return len(built) == len(actual) and all(
        size in (None, other)
        for size, other in zip(built[1:], actual[1:], strict=True)
    )


def _check_dtypes(model: keras.Model, graph: Any) -> None:
    for tensor in graph.inputs:
        if not keras.backend.is_float_dtype(tensor.dtype):
            raise ValueError(
                f"Model '{model.name}' rounds its inputs to integers, so that "
                "it has no Lipschitz constant. Give its `keras.Input` a dtype "
                f"of floats. Received: dtype={tensor.dtype!r}"
            )


def _check_call(
    layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    for name, value in kwargs.items():
        # Keras passes a list of no masks to models of several inputs.
        absent = all(leaf is None for leaf in keras.tree.flatten(value))
        if not (absent or (name == "training" and value is False)):
            raise ValueError(
                f"Layer '{layer.name}' is called with `{name}={value!r}`. A "
                "Lipschitz bound is that of the model at inference, without "
                "masks and other arguments."
            )
    if isinstance(layer, keras.layers.Layer) and not (
        len(args) == 1 and all(map(_is_bound, keras.tree.flatten(args)))
    ):
        raise ValueError(
            f"Layer '{layer.name}' is called on something else than its "
            "inputs, so that no Lipschitz bound of the call is known."
        )


def _is_bound(leaf: Any) -> bool:
    return isinstance(leaf, Bound)
