"""Blocks of layers inside a layer."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program import freeze_layer
from keras_lip.program.freezing.registry import find_norms
from keras_lip.proofs.norms import NORMS
from keras_lip.types import Shape
from keras_lip.types import Tensor


def list_layers(
    layers: keras.layers.Layer | Sequence[keras.layers.Layer],
) -> list[keras.layers.Layer]:
    """Returns the list of one or more layers.

    Raises:
        TypeError: If `layers` contains anything other than layers, or a model.
        ValueError: If `layers` is empty.
    """
    listed = list(layers) if isinstance(layers, list | tuple) else [layers]
    for layer in listed:
        if not isinstance(layer, keras.layers.Layer) or isinstance(
            layer, keras.Model
        ):
            raise TypeError(
                "`layers` must be a layer or a list of layers that are not "
                f"models. Received: {layer!r} of type `{type(layer).__name__}`"
            )
    if not listed:
        raise ValueError(
            "`layers` must contain at least one layer. Received: "
            f"layers={layers!r}"
        )
    return listed


def copy_layers(
    layers: list[keras.layers.Layer], dtype: Any
) -> list[keras.layers.Layer]:
    """Returns new layers with the same arguments, in one dtype."""
    return [
        type(layer).from_config(
            {
                **layer.get_config(),
                "dtype": dtype,
            }
        )
        for layer in layers
    ]


def find_dtype(layers: list[keras.layers.Layer]) -> Any:
    """Returns the dtype policy of all layers."""
    names = {layer.dtype_policy.name for layer in layers}
    if len(names) != 1:
        raise ValueError(
            "`layers` must have one dtype policy, or `dtype` must be "
            f"given. Received: policies {sorted(names)}"
        )
    return layers[0].dtype_policy


def find_common_norms(layers: list[keras.layers.Layer]) -> tuple[str, ...]:
    """Returns the norms in which all layers have a bound."""
    known = [find_norms(layer) for layer in layers]
    norms = tuple(norm for norm in NORMS if all(norm in each for each in known))
    if not norms:
        listed = ", ".join(
            f"layer '{layer.name}' of type `{type(layer).__name__}` with a "
            f"bound in {' and '.join(each)}"
            for layer, each in zip(layers, known, strict=True)
        )
        raise ValueError(
            "`layers` must have a Lipschitz bound in a norm in common. Use "
            "`OrthogonalDense` for l2, or `LinfDense` for linf, but not both, "
            "or register a bound in the missing norm with "
            "`@keras_lip.bounds.propagate_bound.register`. Received: "
            f"{listed}"
        )
    return norms


def start_from(column: tuple[Any, ...]) -> Callable[..., Tensor]:
    """Returns an initializer that stacks the initial weights of all blocks."""

    def initialize(shape: Shape, dtype: Any = None) -> Tensor:
        arrays = [ops.convert_to_numpy(weight) for weight in column]
        return ops.convert_to_tensor(np.stack(arrays), dtype)

    return initialize


class StackedRegularizer(keras.regularizers.Regularizer):
    """Sums the penalties of all blocks."""

    def __init__(self, regularizer: Callable[[Tensor], Tensor]) -> None:
        self.regularizer = regularizer

    def __call__(self, x: Tensor) -> Tensor:
        return ops.sum(_map_blocks(self.regularizer, x))


class StackedConstraint(keras.constraints.Constraint):
    """Constrains the weights of each block."""

    def __init__(self, constraint: Callable[[Tensor], Tensor]) -> None:
        self.constraint = constraint

    def __call__(self, w: Tensor) -> Tensor:
        return _map_blocks(self.constraint, w)


def _map_blocks(
    function: Callable[[Tensor], Tensor], stacked: Tensor
) -> Tensor:
    return ops.vectorized_map(function, ops.convert_to_tensor(stacked))


def check_block(stack: Any, block: keras.Sequential, shape: Shape) -> None:
    """Rejects a block that a loop cannot run.

    Args:
        stack: The layer that runs the loop, for the errors.
        block: The built block.
        shape: Shape of its inputs, which its outputs must have.
    """
    if block.output_shape != shape:
        raise ValueError(
            f"The blocks of layer '{stack.name}' must not change the shape "
            f"of their inputs. Received: input shape {shape}, output shape "
            f"{block.output_shape}"
        )
    if not block.weights:
        raise ValueError(
            f"The blocks of layer '{stack.name}' have no weights, so that a "
            "loop cannot tell them apart. Use separate layers instead. "
            f"Received: {[layer.name for layer in block.layers]}"
        )
    for layer in block.layers:
        if len(layer.variables) != len(layer.weights):
            why = "draws random numbers, or keeps metrics"
        elif layer.activity_regularizer is not None:
            why = "regularizes its outputs"
        else:
            continue
        raise ValueError(
            f"Layer '{layer.name}' of the blocks of layer '{stack.name}' "
            f"{why}, which a loop over blocks does not support. Remove it, "
            "or use separate layers instead."
        )


def estimate_part(layer: Any, training: bool) -> Any:
    """Returns the bound of a layer of a block that a loss uses."""
    if isinstance(layer, LipschitzLayer):
        return layer._estimate_bound(training)
    if layer.weights:
        raise ValueError(
            f"Layer '{layer.name}' of type `{type(layer).__name__}` of a "
            "block has weights, but its norm is neither constrained nor "
            "estimated in training, as the loss requires. Use a layer of "
            "`keras_lip.layers` instead."
        )
    return freeze_layer(layer).bounds("l2").output
