"""Block of LipNeXt: a shift between orthogonal matrices."""

from typing import Any

import keras
from keras import ops

from keras_lip import parametrizations
from keras_lip.held_values import compute_once
from keras_lip.layers.activations.beta_abs import moduli_slopes
from keras_lip.layers.activations.beta_abs import take_moduli
from keras_lip.layers.constrained_kernel import add_state
from keras_lip.layers.constrained_kernel import assign_state
from keras_lip.layers.constrained_kernel import can_move_state
from keras_lip.layers.constrained_kernel import shrink_kernel
from keras_lip.layers.image_format import check_data_format
from keras_lip.layers.initializers import get_initializer
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.reshaping.spatial_shift2d import check_moves
from keras_lip.layers.reshaping.spatial_shift2d import list_moves
from keras_lip.linalg import transpose
from keras_lip.parametrizations import Parametrization
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import channels_back
from keras_lip.program.freezing.reading import channels_last
from keras_lip.program.nodes.affine import translate
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.elementwise import Rectify
from keras_lip.program.nodes.shift import Shift
from keras_lip.program.nodes.shift import shift_channels
from keras_lip.proofs.matrix_norms import spectral_norm_bound
from keras_lip.read_weight import read_kernel
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_known
from keras_lip.validation import check_number
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class LipNeXtBlock(LipschitzLayer):
    """Mixes channels and neighbouring pixels by matrices and shifts.

    The layer computes `abs_beta(shift((x + p) R) R^T M + bias)` at every pixel,
    with orthogonal matrices `R` and `M` that act on the channels, a trained
    number `p` for each pixel, the shift of `keras_lip.layers.SpatialShift2D`
    and the activation of `keras_lip.layers.BetaAbs`. The product `R^T M` is
    applied as one matrix. Every part preserves the l2 norm of the gradient
    wherever it is differentiable, so the block is 1-Lipschitz in the l2 norm
    and preserves the l2 norm of the gradient.

    The published networks train `R` and `M` on the manifold of orthogonal
    matrices. Here a parametrization computes them from free matrices, so that
    any optimizer can be used.

    Args:
        beta: Float between 0 and 1. Fraction of the channels of which the
            activation takes the absolute value. Defaults to `0.5`.
        ratio: Float, greater than 0 and at most 1 / 4. Fraction of the channels
            that is shifted in each of the four directions. Defaults to `1 / 8`.
        shift: Positive integer, less than the sides of the images. Number of
            pixels that they move. Defaults to `1`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        use_bias: Boolean. Whether the layer adds a bias. Defaults to `True`.
        use_position: Boolean. Whether the layer adds the numbers `p`. It needs
            images of known sides for this. Without `p`, a block with circular
            shifts treats all pixels alike. Defaults to `True`.
        kernel_initializer: Initializer of the free matrices. Defaults to
            `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        position_initializer: Initializer of `p`. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the free matrices. Defaults to
            `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        parametrization: Name, config or instance of an orthogonal
            `keras_lip.parametrizations.Parametrization`. Defaults to
            `"cayley"`.
        padding_mode: `"circular"` or `"zeros"`. Padding of the shift. With
            zeros the layer is 1-Lipschitz, but does not preserve norms.
            Defaults to `"circular"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range; when the layer is built, if
            there are fewer than four channels, if a side is not longer than
            `shift`, or if `use_position` is true and a side is not known.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        Same as the input.

    Example:

    >>> layer = keras_lip.layers.LipNeXtBlock()
    >>> tuple(layer(np.ones((2, 6, 6, 8))).shape)
    (2, 6, 6, 8)

    Reference:

    - [Hu et al., 2026](https://arxiv.org/abs/2601.18513), on the block of
      LipNeXt
    """

    guarantee = "gradient norm preserving"

    def __init__(
        self,
        beta: float = 0.5,
        ratio: float = 1 / 8,
        shift: int = 1,
        data_format: str | None = None,
        use_bias: bool = True,
        use_position: bool = True,
        kernel_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        position_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        parametrization: str | Config | Parametrization = "cayley",
        padding_mode: str = "circular",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.beta = check_number("beta", beta, 0.0, 1.0)
        self.ratio = check_number("ratio", ratio, 0.0, 0.25, open_low=True)
        self.shift = check_positive_integer("shift", shift)
        self.data_format = check_data_format(data_format)
        self.use_bias = use_bias
        self.use_position = use_position
        self.kernel_initializer = get_initializer(kernel_initializer)
        self.bias_initializer = get_initializer(bias_initializer)
        self.position_initializer = get_initializer(position_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.parametrization = parametrizations.get_orthogonal(
            parametrization, owner=type(self).__name__
        )
        check_known("padding_mode", padding_mode, ("circular", "zeros"))
        self.padding_mode = padding_mode
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: Shape) -> None:
        sides, channels = self._split_shape(input_shape)
        check_moves(self, sides, channels, self.shift, input_shape)
        self._free, self._states = [], []
        for name in ("rotation", "kernel"):
            self._free.append(
                self.add_weight(
                    name=f"free_{name}",
                    shape=self.parametrization.free_shape((channels, channels)),
                    initializer=self.kernel_initializer,
                    regularizer=self.kernel_regularizer,
                    # They stay in float32 under mixed precision: constrained in
                    # bfloat16, their norms would exceed one.
                    autocast=False,
                )
            )
            state = self.parametrization.initial_state((channels, channels))
            self._states.append(add_state(self, state))
        if self.use_position:
            if None in sides:
                raise ValueError(
                    f"Layer '{self.name}' trains a number for each pixel and "
                    "needs images of known sides. Received: "
                    f"input_shape={tuple(input_shape)}. For images of unknown "
                    "sides, pass `use_position=False`."
                )
            self.position = self.add_weight(
                name="position",
                shape=(*sides, 1),
                initializer=self.position_initializer,
            )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(channels,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )
        axis = 3 if self.data_format == "channels_last" else 1
        axes = {axis: channels}
        if self.use_position:
            # Fixes the sides: an image with a side of one would be broadcast
            # against `position`, which increases the norm.
            axes = dict(enumerate(input_shape[1:], start=1))
        self.input_spec = keras.layers.InputSpec(ndim=4, axes=axes)

    def compute_kernels(self, training: bool = False) -> tuple[Tensor, Tensor]:
        """Returns the matrices before and after the shift, `R` and `R^T M`.

        Args:
            training: Boolean. Whether to update the states of the
                parametrization. Defaults to `False`.
        """
        matrices = []
        for free, variables in zip(self._free, self._states, strict=True):
            matrix = ops.convert_to_tensor(free)
            missing = matrix.shape[0] - matrix.shape[1]
            if missing:
                matrix = ops.pad(matrix, [(0, 0), (0, missing)])
            moves = training and can_move_state(variables)
            matrix, state = self.parametrization(matrix, variables, moves)
            if moves:
                assign_state(variables, state)
            matrices.append(matrix)
        rotation, kernel = matrices
        return rotation, ops.matmul(transpose(rotation), kernel)

    def _constrain(self) -> Any:
        return self.compute_kernels()

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        first = self.data_format == "channels_first"
        images = ops.moveaxis(inputs, 1, -1) if first else inputs
        if training and self.trainable:
            kernels = self.compute_kernels(training=True)
        else:
            kernels = compute_once(self)
        before, after = (ops.cast(each, images.dtype) for each in kernels)
        if self.use_position:
            images = images + self.position
        images = ops.matmul(images, before)
        circular = self.padding_mode == "circular"
        moves = list_moves(images.shape[-1], self.ratio, self.shift)
        images = shift_channels(images, moves, circular, ops)
        images = ops.matmul(images, after)
        if self.use_bias:
            images = images + self.bias
        outputs = take_moduli(images, self.beta, -1, [1, 1, 1, -1])
        return ops.moveaxis(outputs, -1, 1) if first else outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        before, after = compute_once(self)
        if x.proven:
            before, after = (
                shrink_kernel(
                    each, spectral_norm_bound(read_kernel(self, each))
                )
                for each in (before, after)
            )
        bias = read_kernel(self, self.bias) if self.use_bias else None
        slopes = moduli_slopes(before.shape[0], self.beta)
        images = channels_last(x, self)
        if self.use_position:
            images = images.then(translate(read_kernel(self, self.position)))
        images = images.then(Dense(read_kernel(self, before), None))
        circular = self.padding_mode == "circular"
        moves = list_moves(before.shape[0], self.ratio, self.shift)
        images = images.then(Shift(moves, circular))
        images = images.then(Dense(read_kernel(self, after), bias))
        images = images.then(Rectify(slopes.reshape(1, 1, -1), None))
        return channels_back(images, self)

    def _split_shape(self, input_shape: Shape) -> tuple[list[Any], Any]:
        """Returns the sides and the number of channels of an image shape."""
        if self.data_format == "channels_first":
            channels, *sides = input_shape[1:]
        else:
            *sides, channels = input_shape[1:]
        return sides, channels

    def get_config(self) -> Config:
        initializers, regularizers = keras.initializers, keras.regularizers
        return {
            **super().get_config(),
            "beta": self.beta,
            "ratio": self.ratio,
            "shift": self.shift,
            "data_format": self.data_format,
            "use_bias": self.use_bias,
            "use_position": self.use_position,
            "kernel_initializer": initializers.serialize(
                self.kernel_initializer
            ),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "position_initializer": initializers.serialize(
                self.position_initializer
            ),
            "kernel_regularizer": regularizers.serialize(
                self.kernel_regularizer
            ),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "parametrization": parametrizations.serialize(self.parametrization),
            "padding_mode": self.padding_mode,
        }
