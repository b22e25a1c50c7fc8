"""The l2 norms of the channels of images."""

import keras
from keras import ops

from keras_lip.layers.pooling.base_global_pooling2d import BaseGlobalPooling2D
from keras_lip.layers.pooling.pooled_sums import safe_sqrt
from keras_lip.layers.pooling.pooled_sums import upcast
from keras_lip.program.builder import Wire
from keras_lip.program.nodes.average_pooling import GlobalPool
from keras_lip.program.nodes.pooling import NormPool
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class GlobalL2NormPooling2D(BaseGlobalPooling2D):
    """Pools each channel of an image to its l2 norm.

    A norm is 1-Lipschitz by the triangle inequality, and the channels share no
    entries. The layer is therefore 1-Lipschitz in the l2 norm and preserves the
    norm of the gradient. At zero, where the norm has no gradient, the layer
    uses zero as its gradient.

    Args:
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        keepdims: Boolean. Whether to keep the image axes with size one.
            Defaults to `False`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `data_format` is invalid.

    Input shape:
        `(batch_size, rows, columns, channels)`, or
        `(batch_size, channels, rows, columns)` with `"channels_first"`. The
        sides may be unknown until the layer runs.

    Output shape:
        `(batch_size, channels)`, or the input shape with sides of one.

    Example:

    >>> layer = keras_lip.layers.GlobalL2NormPooling2D()
    >>> outputs = layer(np.array([[[[3.0], [-4.0]]]]))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[5.0]]

    Reference:

    - [Sermanet et al., 2012](https://arxiv.org/abs/1204.3968), for pooling by
      norms
    """

    def call(self, inputs: Tensor) -> Tensor:
        squares = ops.square(upcast(inputs))
        outputs = safe_sqrt(ops.sum(squares, self.axes, keepdims=self.keepdims))
        return ops.cast(outputs, inputs.dtype)

    def freeze(self, *inputs: Wire) -> Wire:
        axes = tuple(axis - 1 for axis in self.axes)
        norms = inputs[0].then(NormPool(GlobalPool(axes, 1.0), 1.0))
        return self._drop_sides(norms)
