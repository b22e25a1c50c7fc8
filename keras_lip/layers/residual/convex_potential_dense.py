"""The convex potential layer: a step down the gradient of a convex function."""

from typing import Any

import keras
from keras import ops

from keras_lip.held_values import compute_once
from keras_lip.layers.residual.base_hidden_block import BaseHiddenDense
from keras_lip.layers.residual.potential_step import add_fixed_step
from keras_lip.layers.residual.potential_step import check_steps
from keras_lip.layers.residual.potential_step import estimate_step
from keras_lip.layers.residual.potential_step import longest_step
from keras_lip.layers.residual.potential_step import running_kernel
from keras_lip.linalg import start_vector
from keras_lip.operators import DenseOperator
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.activations import activate
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.merges import Combine
from keras_lip.read_weight import read_kernel
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class ConvexPotentialDense(BaseHiddenDense):
    """Residual dense block that is 1-Lipschitz by convexity.

    The layer computes `x - h * s(x W + b) W^T`, where `s` is a non-decreasing
    1-Lipschitz activation. It is one step of length `h` down the gradient of a
    convex potential, and 1-Lipschitz in the l2 norm for every step of at most
    `2 / |W|^2`. The default is `2 / max(|W|, 0.1)^2`: the longest such step,
    but at most 200. With a zero kernel the block is the identity. It can train
    from there if its bias is not zero.

    `|W|` is then estimated by the power method. Each training step runs one
    iteration and stores its last vector in a non-trainable weight; inference
    runs 100 iterations from that vector. The estimate is at most `|W|`, so the
    step may be too long: `lipschitz_bound` is `max(1, h |W|^2 - 1)` for the
    step `h` used at inference. `keras_lip.models.fix_steps` returns a model
    whose steps are proven to be short enough. With a `step_fraction` below one
    the step is `2 * step_fraction / max(|W|, 0.1)^2`. The bound is then one if
    the squared estimate is at least `step_fraction * |W|^2`.

    A given `step` stays fixed while `W` changes (relaxed training). It is a
    non-trainable weight. The layer is cheaper, because it estimates nothing,
    but it may leave the 1-Lipschitz functions: if the step is longer than `2 /
    |W|^2`, the bound is `h |W|^2 - 1`, which is above one.

    Blocks with a linear activation compose every linear contraction of `n`
    dimensions with at most `n + 1` blocks: `n` reflections and a symmetric
    matrix, by its polar decomposition. The paper's appendix B claims that some
    contractions cannot be approximated at any depth, which is false.

    If an entry of the kernel exceeds 1e6, the layer scales the kernel down so
    that its largest entry is 1e6. Otherwise its computations might overflow.

    Args:
        hidden_units: Positive integer. Number of hidden units.
        activation: Name or function of a non-decreasing 1-Lipschitz activation
            of `keras.activations`. Defaults to `"relu"`.
        kernel_initializer: Initializer of the kernel. Defaults to
            `"glorot_uniform"`.
        bias_initializer: Initializer of the hidden bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the hidden bias. Defaults to `None`.
        step: Positive float, or `None`. A given `step` stays fixed while the
            kernel changes. Defaults to `None`, for `2 / max(|W|, 0.1)^2`.
        step_fraction: Float in (0, 1]. Share of the longest step `2 /
            max(|W|, 0.1)^2` that the layer takes if `step` is `None`. Defaults
            to `1.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `hidden_units` is not a positive integer, the activation
            is not known to be non-decreasing and 1-Lipschitz, `step` is not a
            positive finite float32 number, `step_fraction` is not in (0, 1], or
            both are given.

    Input shape:
        `(batch_size, ..., input_dim)`.

    Output shape:
        Same as the input.

    Example:

    >>> layer = keras_lip.layers.ConvexPotentialDense(8)
    >>> tuple(layer(np.ones((2, 3))).shape)
    (2, 3)

    Reference:

    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), Proposition 1
      and Algorithm 1; Proposition 4 for shorter steps, and appendix C.1 for a
      fixed step
    """

    def __init__(
        self,
        hidden_units: int,
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        step: float | None = None,
        step_fraction: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            activation,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            **kwargs,
        )
        self.hidden_units = check_positive_integer("hidden_units", hidden_units)
        self.step, self.step_fraction = check_steps(step, step_fraction)

    def build(self, input_shape: Shape) -> None:
        input_dim = self._fix_input_dim(input_shape)
        self.kernel = self._add_kernel("kernel", (input_dim, self.hidden_units))
        self.bias = self._add_bias(self.hidden_units)
        if self.step is not None:
            self.fixed_step = add_fixed_step(self, self.step)
            return
        self.power_iteration_vector = self.add_weight(
            name="power_iteration_vector",
            shape=(1, input_dim),
            initializer=start_vector,
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )

    def compute_step(self, training: bool = False) -> Tensor:
        """Returns the step `h`. In training it updates the vector."""
        if self.step is not None:
            return ops.convert_to_tensor(self.fixed_step)
        return estimate_step(
            DenseOperator(),
            running_kernel(self.kernel),
            self.power_iteration_vector,
            training,
            self.step_fraction,
        )

    @property
    def _is_costly(self) -> bool:
        return self.step is None

    def _constrain(self) -> Any:
        return self.compute_step()

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if training and self.trainable:
            step = self.compute_step(training=True)
        else:
            step = compute_once(self)
        kernel = ops.cast(running_kernel(self.kernel), inputs.dtype)
        hidden = self.activation(ops.add(ops.matmul(inputs, kernel), self.bias))
        descent = ops.matmul(hidden, ops.transpose(kernel))
        return inputs - ops.cast(step, inputs.dtype) * descent

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def _prove_step(self) -> float:
        step = float(read_kernel(self, compute_once(self)))
        if self.step is not None:
            return step
        kernel = read_kernel(self, running_kernel(self.kernel))
        norm = Dense(kernel, None).constant("l2", None)
        return min(step, longest_step(norm))

    def _fix_config(self, config: Config) -> Config:
        return {**super()._fix_config(config), "step_fraction": 1.0}

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        kernel = read_kernel(self, running_kernel(self.kernel))
        step = (
            self._proven_step()
            if x.has_proven_steps
            else float(read_kernel(self, compute_once(self)))
        )
        up = Dense(kernel, read_kernel(self, self.bias))
        hidden = activate(x.then(up), self.activation)
        descent = hidden.then(Dense(kernel.T, None))
        return x.then(Combine((1.0, -step)), descent)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "hidden_units": self.hidden_units,
            "step": self.step,
            "step_fraction": self.step_fraction,
        }
