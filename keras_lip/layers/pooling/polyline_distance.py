"""The signed distance to a polyline that ends at infinity."""

import numpy as np
from keras import ops

from keras_lip.layers.pooling.edge_distance import edge_distance
from keras_lip.types import Tensor


def polyline_distance(
    x: Tensor, y: Tensor, u: Tensor, v: Tensor, cosines: Tensor, sines: Tensor
) -> Tensor:
    """Returns the distance to a polyline, negative to the right of it.

    A half-line goes from the first vertex upwards and one from the last
    downwards, so that the polyline separates the plane. It may intersect
    itself: to the right is what an odd number of edges separates from infinite
    negative `x`.

    Args:
        x: First coordinates of the points.
        y: Second coordinates.
        u: First coordinates of the vertices, on one more axis, the last.
        v: Second coordinates.
        cosines: First coordinates of the directions of the two half-lines, on
            the last axis.
        sines: Second coordinates: one that is positive and one that is
            negative.
    """
    x, y = ops.expand_dims(x, -1), ops.expand_dims(y, -1)
    above = ops.greater(v, y)
    up, down = ops.ones_like(above[..., :1]), ops.zeros_like(above[..., :1])
    num_edges = u.shape[-1] + 1
    length = np.ones(num_edges, dtype="float32")
    length[[0, -1]] = np.inf
    return edge_distance(
        point=(x, y),
        start=(_repeat_first(u), _repeat_first(v)),
        edge=(_edges(u, cosines), _edges(v, sines)),
        is_above=(
            _repeat_first(above),
            ops.concatenate([up, above[..., 1:], down], axis=-1),
        ),
        length=length,
    )


def _repeat_first(vertices: Tensor) -> Tensor:
    return ops.concatenate([vertices[..., :1], vertices], axis=-1)


def _edges(vertices: Tensor, ends: Tensor) -> Tensor:
    between = vertices[..., 1:] - vertices[..., :-1]
    return ops.concatenate([ends[..., :1], between, ends[..., 1:]], axis=-1)
