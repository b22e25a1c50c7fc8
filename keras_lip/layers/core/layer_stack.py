"""A layer that runs many blocks of one kind in a loop."""

import contextlib
import itertools
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.held_values import Slots
from keras_lip.held_values import holding_values
from keras_lip.held_values import read_slot
from keras_lip.held_values import reading_slots
from keras_lip.layers.core.stacked_blocks import StackedConstraint
from keras_lip.layers.core.stacked_blocks import StackedRegularizer
from keras_lip.layers.core.stacked_blocks import check_block
from keras_lip.layers.core.stacked_blocks import copy_layers
from keras_lip.layers.core.stacked_blocks import estimate_part
from keras_lip.layers.core.stacked_blocks import find_common_norms
from keras_lip.layers.core.stacked_blocks import find_dtype
from keras_lip.layers.core.stacked_blocks import list_layers
from keras_lip.layers.core.stacked_blocks import start_from
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.lipschitz_layer import find_constrained_layers
from keras_lip.layers.lipschitz_layer import fix_entry
from keras_lip.layers.lipschitz_layer import fixed_weights
from keras_lip.program.builder import Wire
from keras_lip.scan import Step
from keras_lip.scan import scan
from keras_lip.types import Array
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer


class _Untracked:
    """Hides layers from Keras, which would track their weights."""

    def __init__(self, layers: Any) -> None:
        self.layers = layers


@keras.saving.register_keras_serializable(package="keras_lip")
class LayerStack(LipschitzLayer):
    """Applies `depth` blocks of one kind, one after the other.

    The layer computes the same function as `depth` separate layers, each with
    its own weights. It stores each weight of all blocks in one tensor of shape
    `(depth, ...)` and runs the blocks in a loop. JAX and TensorFlow then trace
    and compile a single block: the compilation time does not depend on `depth`,
    while for separate layers it grows faster than `depth`. PyTorch compiles
    nothing, so it gains nothing. On JAX on CPUs the convolutions of a stack
    have no forward-mode derivatives (`jax.jvp`).

    The bound is the product of the bounds of all blocks, computed from the
    weights used at inference. It holds in each norm in which all layers have a
    bound. If there are several such norms, it is the largest of the products. A
    materialized stack contains each block as separate layers.

    Callbacks do not reach the layers inside a stack:
    `keras_lip.callbacks.SVCMClipping` and `BjorckScheduler` do not change them,
    and `LipschitzMonitor` logs one bound for the whole stack.

    Args:
        layers: A layer, or a list of layers that form one block. The stack
            copies their arguments, not their weights. Each layer must have a
            Lipschitz bound, and a block must not change the shape of its
            inputs. An initializer with a `seed` gives all blocks the same
            initial weights.
        depth: Positive integer. Number of blocks.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.
            `dtype` defaults to the dtype of the layers. All blocks compute in
            it.

    Raises:
        TypeError: If `layers` contains anything other than layers.
        ValueError: If `depth` is not a positive integer; if `layers` is empty;
            if a layer has no Lipschitz bound; if the layers have no common norm
            or different dtypes; or, when the stack is built, if a block changes
            the shape of its inputs, has no weights, draws random numbers, or
            regularizes its outputs.

    Input shape:
        The input shape of the first layer of a block.

    Output shape:
        Same as the input.

    Example:

    >>> block = keras_lip.layers.ConvexPotentialDense(8)
    >>> stack = keras_lip.layers.LayerStack(block, depth=100)
    >>> tuple(stack(np.ones((2, 3))).shape)
    (2, 3)
    >>> tuple(stack.weights[0].shape)
    (100, 3, 8)

    Reference:

    - [Bradbury et al., 2018](https://docs.jax.dev/en/latest/_autosummary/jax.lax.scan.html),
      `jax.lax.scan`
    """

    guarantee = "the guarantee of its blocks"

    def __init__(
        self,
        layers: keras.layers.Layer | Sequence[keras.layers.Layer],
        depth: int,
        **kwargs: Any,
    ) -> None:
        listed = list_layers(layers)
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = find_dtype(listed)
        super().__init__(**kwargs)
        self.depth = check_positive_integer("depth", depth)
        self.norms = find_common_norms(listed)
        # Copies, so that later changes to the caller's layers have no effect.
        self._patterns = _Untracked(copy_layers(listed, self.dtype_policy))

    def build(self, input_shape: Shape) -> None:
        inputs = keras.Input(batch_shape=input_shape, dtype=self.compute_dtype)
        block = keras.Sequential([inputs, *self._make_layers()])
        check_block(self, block, tuple(input_shape))
        self._block = _Untracked(block)
        columns = zip(
            *(self._initial_weights() for _ in range(self.depth)), strict=True
        )
        self._stacked = [
            self.add_weight(
                name=weight.path.replace("/", "_"),
                shape=(self.depth, *weight.shape),
                dtype=weight.dtype,
                initializer=start_from(column),
                regularizer=weight.regularizer
                and StackedRegularizer(weight.regularizer),
                constraint=weight.constraint
                and StackedConstraint(weight.constraint),
                trainable=weight.trainable,
                autocast=False,
                aggregation=weight.aggregation,
            )
            for weight, column in zip(block.weights, columns, strict=True)
        ]
        self._is_state = [not weight.trainable for weight in block.weights]
        # JAX compiles a loop again for every new function object.
        self._steps = {
            training: self._make_step(training) for training in (False, True)
        }
        self._held_step = self._make_step(False, reads_held=True)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        moving = bool(training and self.trainable)
        pairs = list(zip(self._stacked, self._is_state, strict=True))
        states = [weight for weight, is_state in pairs if is_state and moving]
        held = None if moving else read_slot(self)
        outputs, moved = scan(
            self._held_step if held else self._steps[moving],
            inputs,
            # Without the copy, PyTorch would compute gradients with the updated
            # state.
            [
                ops.copy(weight)
                if is_state and moving
                else ops.convert_to_tensor(weight)
                for weight, is_state in pairs
            ]
            + list(held or ()),
            [ops.convert_to_tensor(state) for state in states],
        )
        for state, value in zip(states, moved, strict=True):
            state.assign(value)
        return outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def blocks(self) -> Iterator[keras.Sequential]:
        """Yields each block with its weights.

        The same model object is yielded every time, with the weights of the
        next block. Use it before the next iteration. Changes to it are not
        kept.
        """
        block = self._get_block()
        stacked = [ops.convert_to_numpy(weight) for weight in self._stacked]
        for values in zip(*stacked, strict=True):
            block.set_weights(values)
            yield block

    def _get_block(self) -> keras.Sequential:
        """Returns one block, with the weights that it last had.

        This is not a property because Keras would save its value.
        """
        block: keras.Sequential = self._block.layers
        return block

    def _fix_config(self, config: Config) -> Config:
        # Each block stores its own step in its weights and gets it with them.
        pairs = zip(config["layers"], next(self.blocks()).layers, strict=True)
        with holding_values({}):
            return {**config, "layers": [fix_entry(*pair) for pair in pairs]}

    def _set_fixed_weights(self, source: Any) -> None:
        blocks = []
        for block in source.blocks():
            # As in `freeze`, held values are not kept for the next block.
            with holding_values({}):
                fixed = map(fixed_weights, block.layers)
                blocks.append(list(itertools.chain.from_iterable(fixed)))
        self._assign_blocks(blocks)

    def _assign_blocks(self, blocks: Iterable[list[Array]]) -> None:
        """Sets the weights of all blocks.

        Args:
            blocks: For each block the list of its weights, in the order of
                `get_weights()` of a block.
        """
        columns = zip(*blocks, strict=True)
        for weight, column in zip(self._stacked, columns, strict=True):
            weight.assign(np.stack(column))

    def _estimate_bound(self, training: bool) -> Any:
        training = bool(training and self.trainable)
        block = self._get_block()
        # A bound that is a number does not depend on weights: it holds for the
        # layer in every block.
        constant, varying = 1.0, []
        for layer in block.layers:
            part = estimate_part(layer, training=False)
            if isinstance(part, float):
                constant *= part
            else:
                varying.append(layer)
        constant **= self.depth
        if not varying:
            return constant
        pairs = list(zip(self._stacked, self._is_state, strict=True))
        states = [weight for weight, is_state in pairs if is_state and training]

        def step(
            bound: Tensor, slices: list[Tensor]
        ) -> tuple[Tensor, list[Tensor]]:
            mapping = list(zip(block.weights, slices, strict=True))
            with keras.StatelessScope(state_mapping=mapping) as scope:
                for layer in varying:
                    part = layer._estimate_bound(training)
                    bound = bound * ops.cast(part, "float32")
            return bound, self._moved_states(scope, training)

        bound, moved = scan(
            step,
            ops.ones(()),
            [ops.copy(weight) for weight, _ in pairs],
            [ops.convert_to_tensor(state) for state in states],
        )
        for state, value in zip(states, moved, strict=True):
            state.assign(value)
        return bound * constant

    def _moved_states(
        self, scope: keras.StatelessScope, training: bool
    ) -> list[Tensor]:
        """Returns the states of one block after a training step."""
        return [
            scope.get_current_value(weight)
            for weight, is_state in zip(
                self._get_block().weights, self._is_state, strict=True
            )
            if is_state and training
        ]

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        for block in self.blocks():
            # All blocks are the same layer objects with different weights, so
            # values computed for one block must not be reused for the next.
            with holding_values({}):
                for layer in block.layers:
                    x = x.through(layer)
        return x

    def get_config(self) -> Config:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "layers": [serialize(layer) for layer in self._patterns.layers],
            "depth": self.depth,
        }

    @classmethod
    def from_config(cls, config: Config) -> "LayerStack":
        deserialize = keras.saving.deserialize_keras_object
        layers = [deserialize(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})

    def _make_layers(self) -> list[keras.layers.Layer]:
        """Returns the layers of a new block."""
        return copy_layers(self._patterns.layers, self.dtype_policy)

    def _initial_weights(self) -> list[Any]:
        """Returns the initial weights of a new block."""
        layers = self._make_layers()
        for layer, built in zip(layers, self._get_block().layers, strict=True):
            layer.build(built.input.shape)
        return [weight for layer in layers for weight in layer.weights]

    def _constrain(self) -> tuple[Tensor, ...]:
        """Returns the stacked values that each block computes from weights."""
        block = self._get_block()
        layers = find_constrained_layers(block.layers)

        def step(
            carry: Tensor, slices: list[Tensor]
        ) -> tuple[Tensor, list[Tensor]]:
            mapping = list(zip(block.weights, slices, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                values = [layer._constrain() for layer in layers]
            return carry, keras.tree.flatten(values)

        # The values of one block give the shapes.
        like = [layer._constrain() for layer in layers]
        self._held_structure = _Untracked(
            keras.tree.map_structure(lambda _: 0, like)
        )
        _, stacked = scan(
            step,
            ops.zeros(()),
            [ops.convert_to_tensor(weight) for weight in self._stacked],
            [
                ops.broadcast_to(value, (self.depth, *value.shape))
                for value in keras.tree.flatten(like)
            ],
        )
        return tuple(stacked)

    def _unpack_held(self, slices: list[Tensor]) -> Slots:
        """Returns the held values of one block, by identity of the layer."""
        structure = self._held_structure.layers
        values = keras.tree.pack_sequence_as(structure, slices)
        layers = find_constrained_layers(self._get_block().layers)
        return {
            id(layer): value
            for layer, value in zip(layers, values, strict=True)
        }

    def _make_step(self, training: bool, reads_held: bool = False) -> Step:
        block = self._get_block()
        count = len(block.weights)

        def step(
            carry: Tensor, slices: list[Tensor]
        ) -> tuple[Tensor, list[Tensor]]:
            mapping = list(zip(block.weights, slices[:count], strict=True))
            held = (
                reading_slots(self._unpack_held(slices[count:]))
                if reads_held
                else contextlib.nullcontext()
            )
            with keras.StatelessScope(state_mapping=mapping) as scope, held:
                outputs = carry
                for layer in block.layers:
                    outputs = layer(outputs, training=training)
            return outputs, self._moved_states(scope, training)

        return step
