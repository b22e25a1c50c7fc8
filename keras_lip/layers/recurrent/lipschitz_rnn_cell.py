"""Recurrent cell with orthogonal kernels."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip import parametrizations
from keras_lip.graph import is_hooked
from keras_lip.layers.activations.max_min import MaxMin
from keras_lip.layers.core.orthogonal_dense import OrthogonalDense
from keras_lip.parametrizations import Parametrization
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.checks import refuse_masks
from keras_lip.program.freezing.checks import unknown_layer
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.nodes.recurrence import Recurrence
from keras_lip.program.nodes.selections import EVERYWHERE
from keras_lip.program.nodes.selections import Slice
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class LipschitzRNNCell(keras.layers.Layer):
    """Cell of a recurrent layer with orthogonal kernels and sorted pairs.

    The cell computes `h_t = MaxMin(dot(h_{t-1}, U) + dot(x_t, W) + b)` with
    orthogonal `U` and `W`, and returns `h_t`. `MaxMin` sorts pairs of units, so
    gradients neither grow nor vanish through time by the recurrent kernel or
    the activation.

    Use it as `keras.layers.RNN(keras_lip.layers.LipschitzRNNCell(units))`. The
    bound of such a layer is proven, in the l2 norm of the whole sequence of
    inputs, for sequences of a known length `T` that start with a state of zero.
    **It is not one, and grows with `T`**, because the differences of all inputs
    may add up:

    - the last state is `sqrt(T)`-Lipschitz;
    - all states, with `return_sequences=True`, are together `1 / (2 sin(pi / (4
      T + 2)))`-Lipschitz, which is about `0.64 T`.

    Both constants are attained. They are computed from the proven norms of the
    kernels used at inference. Stateful layers, masks and sequences of unknown
    length have no bound.

    The kernels are computed in every step of a sequence, except in `predict`
    and `evaluate` of this library's models.

    Args:
        units: Positive even integer. Dimension of the state and of the output.
        use_bias: Boolean. Whether the cell adds a bias. Defaults to `True`.
        kernel_initializer: Initializer of the free kernel of the inputs.
            Defaults to `"orthogonal"`.
        recurrent_initializer: Initializer of the free kernel of the states.
            Defaults to `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the free kernel of the inputs.
            Defaults to `None`.
        recurrent_regularizer: Regularizer of the free kernel of the states.
            Defaults to `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        parametrization: Name, config or instance of an orthogonal
            `keras_lip.parametrizations.Parametrization` of both kernels.
            Defaults to `"cayley"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `units` is not a positive even integer, or the
            parametrization is unknown or not orthogonal.

    Input shape:
        `(batch_size, input_dim)` in each step.

    Output shape:
        `(batch_size, units)` in each step.

    Example:

    >>> layer = keras.layers.RNN(keras_lip.layers.LipschitzRNNCell(4))
    >>> model = keras.Sequential([keras.Input((9, 2)), layer])
    >>> round(keras_lip.bounds.lipschitz_bound(model), 3)
    3.0

    Reference:

    - [Arjovsky et al., 2016](https://arxiv.org/abs/1511.06464), on recurrent
      kernels of norm one
    - [Anil et al., 2019](https://arxiv.org/abs/1811.05381), on `MaxMin`
    """

    def __init__(
        self,
        units: int,
        use_bias: bool = True,
        kernel_initializer: Any = "orthogonal",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        parametrization: str | Config | Parametrization = "cayley",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        common = {
            "parametrization": parametrizations.get_orthogonal(
                parametrization, owner=type(self).__name__
            ),
            "dtype": self.dtype_policy,
            "trainable": self.trainable,
        }
        self.inward = OrthogonalDense(
            units,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            name="inward",
            **common,
        )
        self.recurrent = OrthogonalDense(
            units,
            use_bias=False,
            kernel_initializer=recurrent_initializer,
            kernel_regularizer=recurrent_regularizer,
            name="recurrent",
            **common,
        )
        self.activation = MaxMin(dtype=self.dtype_policy)
        self.units = self.inward.units
        if self.units % 2:
            raise ValueError(
                "`units` must be even, because `MaxMin` sorts pairs of units. "
                f"Received: units={units}"
            )
        # Keras reads these two.
        self.state_size = self.output_size = self.units

    def build(self, input_shape: Shape) -> None:
        self.inward.build(tuple(input_shape))
        self.recurrent.build((None, self.units))

    def call(
        self, inputs: Tensor, states: Sequence[Tensor], training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        # A loop over steps must not update the state of a parametrization, so
        # the kernels are those of inference.
        driven = self.inward(inputs, training=False)
        state = driven + self.recurrent(states[0], training=False)
        state = self.activation(state)
        return state, [state]

    def get_config(self) -> Config:
        inward = self.inward.get_config()
        recurrent = self.recurrent.get_config()
        kept = (
            "units",
            "use_bias",
            "kernel_initializer",
            "bias_initializer",
            "kernel_regularizer",
            "bias_regularizer",
            "parametrization",
        )
        return {
            **super().get_config(),
            **{name: inward[name] for name in kept},
            "recurrent_initializer": recurrent["kernel_initializer"],
            "recurrent_regularizer": recurrent["kernel_regularizer"],
        }


@register_freezer(keras.layers.RNN, norms=("l2",))
def _(layer: Any, x: Wire) -> Wire:
    refuse_masks(layer, x)
    why = _why_unknown(layer, x)
    if why is not None:
        raise unknown_layer(layer, why)
    cell, (length, size) = layer.cell, map(int, x.shape or ())  # type: ignore[arg-type]
    if layer.go_backwards:
        x = x.then(Slice(((None, None, -1), EVERYWHERE)))
    return x.then(
        Recurrence(
            _read_node(x, cell.inward, (1, size)),
            _read_node(x, cell.recurrent, (1, cell.units)),
            _read_node(x, cell.activation, (1, cell.units)),
            length,
            layer.return_sequences,
        )
    )


def _why_unknown(layer: Any, x: Wire) -> str | None:
    """Says why a recurrent layer has no known bound."""
    cell = layer.cell
    if type(cell) is not LipschitzRNNCell:
        return (
            f"its cell is a `{type(cell).__name__}`, and bounds are known for "
            "`keras_lip.layers.LipschitzRNNCell`"
        )
    if "call" in vars(cell) or is_hooked(cell):
        return "the `call` of its cell was replaced, or has hooks"
    if layer.stateful:
        return "it starts with the state of another call"
    if x.shape is None or len(x.shape) != 2 or None in x.shape:
        return (
            "the length of its sequences is not known, and its bound depends "
            "on it"
        )
    return None


def _read_node(x: Wire, layer: Any, shape: tuple[int, ...]) -> Any:
    """Reads a layer that consists of one node."""
    inner = x.builder.inside([shape], [layer.compute_dtype])
    program = inner.finish(inner.inputs[0].through(layer))
    (step,) = program.steps
    return step.node
