"""The signed distance to a polygon."""

from keras import ops

from keras_lip.layers.pooling.edge_distance import edge_distance
from keras_lip.types import Tensor


def polygon_distance(x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Returns the distance to a closed polygon, negative inside of it.

    It may intersect itself: what an even number of edges separates from
    infinity is outside.

    Args:
        x: First coordinates of the points.
        y: Second coordinates.
        u: First coordinates of the vertices, on one more axis, the last.
        v: Second coordinates.
    """
    x, y = ops.expand_dims(x, -1), ops.expand_dims(y, -1)
    above = ops.greater(v, y)
    return edge_distance(
        point=(x, y),
        start=(u, v),
        edge=(_next(u) - u, _next(v) - v),
        is_above=(above, _next(above)),
        length=1.0,
    )


def _next(vertices: Tensor) -> Tensor:
    return ops.concatenate([vertices[..., 1:], vertices[..., :1]], axis=-1)
