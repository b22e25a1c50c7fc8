"""The distance to a point."""

from keras import ops

from keras_lip.layers.pooling.safe_sqrt import safe_sqrt
from keras_lip.types import Tensor


def point_distance(x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Returns the distance of `(x, y)` from `(u, v)`."""
    return safe_sqrt(ops.square(x - u) + ops.square(y - v))
