"""Subtraction of the mean over the batch."""

from typing import Any

import keras
from keras import ops

from keras_lip.layers.activations.channel_groups import channel_shape
from keras_lip.layers.activations.channel_groups import check_channels
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import along_axis
from keras_lip.program.nodes.affine import translate
from keras_lip.proofs.norms import NORMS
from keras_lip.read_weight import read_kernel
from keras_lip.replicas import sum_over_replicas
from keras_lip.traces import can_move
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_boolean
from keras_lip.validation import check_integer
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class BatchCentering(LipschitzLayer):
    """Subtracts the mean of each channel over the batch.

    In training the layer subtracts the mean of the batch and updates a moving
    mean, a non-trainable weight. At inference, or if the layer is frozen, it
    subtracts the moving mean. It is then a translation, so it is 1-Lipschitz in
    every norm and preserves the gradient. It is batch normalization without the
    division by the standard deviation.

    On several replicas, the mean of the batch is the mean of the replica's
    part, unless the layer is `synchronized`. The moving mean is then averaged
    over the replicas of `tf.distribute`, but the processes of PyTorch's
    `DistributedDataParallel` each have their own, of which a saved model
    contains one. Use `synchronized=True` there. On JAX the mean is always the
    mean of the whole batch.

    Args:
        momentum: Float between zero and one. Fraction of the moving mean that a
            training step keeps. Defaults to `0.99`.
        axis: Integer. The channel axis. Defaults to `-1`, the last axis.
        center: Boolean. Whether the layer adds a trainable bias. Defaults to
            `True`.
        synchronized: Boolean. Whether to use the mean of the whole batch, of
            all replicas, in each training step. All replicas must then take
            part in each step: on PyTorch, a training step of one process alone
            waits for the others. Defaults to `False`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        TypeError: If `synchronized` is not a boolean.
        ValueError: If `momentum` is not between zero and one, or `axis` is not
            an axis of the input, is the batch axis, or has no known size.

    Input shape:
        Arbitrary, with a batch axis first.

    Output shape:
        Same as the input.

    Example:

    >>> layer = keras_lip.layers.BatchCentering()
    >>> outputs = layer(np.array([[3.0], [1.0]]), training=True)
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[1.0], [-1.0]]

    Reference:

    - [Ioffe & Szegedy, 2015](https://arxiv.org/abs/1502.03167), section 3, for
      batch normalization
    """

    norms = NORMS
    guarantee = "translation at inference"

    def __init__(
        self,
        momentum: float = 0.99,
        axis: int = -1,
        center: bool = True,
        *,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.synchronized = check_boolean("synchronized", synchronized)
        self.momentum = check_number("momentum", momentum, 0.0, 1.0)
        self.axis = check_integer("axis", axis)
        self.center = center

    def build(self, input_shape: Shape) -> None:
        channels = check_channels(self, input_shape, self.axis)
        # The sum over the batch would be too inaccurate in bfloat16.
        self.moving_mean = self.add_weight(
            name="moving_mean",
            shape=(channels,),
            initializer="zeros",
            trainable=False,
            autocast=False,
            # Replicas see different parts of a batch.
            aggregation="mean",
        )
        if self.center:
            self.beta = self.add_weight(
                name="beta", shape=(channels,), initializer="zeros"
            )
        self.input_spec = keras.layers.InputSpec(
            ndim=len(input_shape), axes={self.axis: channels}
        )

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        mean = self._compute_mean(inputs, bool(training and self.trainable))
        shape = channel_shape(len(inputs.shape), self.axis)
        outputs = inputs - ops.cast(ops.reshape(mean, shape), inputs.dtype)
        if self.center:
            outputs = outputs + ops.reshape(self.beta, shape)
        return outputs

    def _compute_mean(self, inputs: Tensor, training: bool) -> Tensor:
        moving_mean = ops.convert_to_tensor(self.moving_mean)
        if not training:
            return moving_mean
        if not can_move(self.moving_mean):
            raise ValueError(
                f"Layer '{self.name}' cannot update its mean inside a loop, "
                "because JAX traces the loop as a separate function. Move it "
                "out of the cell, or use `keras_lip.layers.LayerCentering`."
            )
        axes = list(range(len(inputs.shape)))
        del axes[self.axis]
        inputs = ops.cast(inputs, self.moving_mean.dtype)
        if self.synchronized:
            # One message contains the sums and the number of summands.
            number = ops.size(inputs) // self.moving_mean.shape[0]
            number = ops.reshape(ops.cast(number, inputs.dtype), (1,))
            sums = ops.concatenate([ops.sum(inputs, axis=axes), number])
            sums = sum_over_replicas(sums)
            mean = sums[:-1] / ops.maximum(sums[-1], 1.0)
            is_empty = ops.equal(sums[-1], 0)
        else:
            mean = ops.mean(inputs, axis=axes)
            is_empty = ops.equal(ops.size(inputs), 0)
        # The mean of an empty batch is NaN.
        mean = ops.where(is_empty, moving_mean, mean)
        self.moving_mean.assign(
            self.momentum * moving_mean + (1 - self.momentum) * mean
        )
        return mean

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        mean = read_kernel(self, self.moving_mean)
        x = x.then(translate(-along_axis(x, self.axis, mean)))
        if self.center:
            beta = read_kernel(self, self.beta)
            x = x.then(translate(along_axis(x, self.axis, beta)))
        return x

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "axis": self.axis,
            "center": self.center,
            "synchronized": self.synchronized,
        }
