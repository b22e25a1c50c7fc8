"""The signed distance to a curve made of straight edges."""

from keras import ops

from keras_lip.layers.pooling.safe_sqrt import safe_sqrt
from keras_lip.types import Tensor

Pair = tuple[Tensor, Tensor]


def edge_distance(
    point: Pair,
    start: Pair,
    edge: Pair,
    is_above: Pair,
    length: Tensor | float,
) -> Tensor:
    """Returns the distance to the nearest edge, negative inside of the curve.

    A point is inside if the line from it towards negative `x` crosses an odd
    number of edges. Whether it does changes on the curve alone, however the
    curve meets itself: a straight path between points of different signs
    crosses the curve, where both distances are zero. So the signed distance is
    1-Lipschitz because the distance is.

    Edges are the last axis of all tensors.

    Args:
        point: Coordinates of the points, with a last axis of one.
        start: Coordinates where each edge starts.
        edge: The edges as vectors of any length. It is divided by, so that
            rounding it moves the curve and leaves the slope.
        is_above: Booleans: whether the start, and the end, of each edge lies
            above the point. Edges that meet must agree on where they do.
        length: Length of each edge in units of its vector: one, or `inf` for a
            half-line.

    Returns:
        A tensor without the last axis.

    Reference:

    - [Singla & Feizi, 2022](https://arxiv.org/abs/2211.08453), corollary 1
    """
    x, y = (of - at for of, at in zip(point, start, strict=True))
    u, v = edge
    squared_length = ops.square(u) + ops.square(v)
    # An edge without length is a point.
    is_point = ops.equal(squared_length, 0.0)
    along = (x * u + y * v) / ops.where(is_point, 1.0, squared_length)
    along = ops.minimum(ops.maximum(along, 0.0), length)
    squares = ops.square(x - along * u) + ops.square(y - along * v)
    distance = safe_sqrt(ops.min(squares, axis=-1))

    starts_above, ends_above = is_above
    is_right = ops.not_equal(u * y - v * x > 0, ends_above)
    crosses = ops.logical_and(ops.not_equal(starts_above, ends_above), is_right)
    signs = 1 - 2 * ops.cast(crosses, distance.dtype)
    return ops.prod(signs, axis=-1) * distance
