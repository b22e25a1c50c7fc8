"""Signed distances from sets in the plane, and distances of points.

The first argument of each function is `keras.ops` or NumPy. So a layer and its
frozen program use the same formulas.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_lip.types import Tensor

Pair = tuple[Tensor, Tensor]


def half_line_distance(
    xp: Any, x: Tensor, y: Tensor, cosine: Tensor, sine: Tensor
) -> Tensor:
    """Returns the signed distance from two half-lines from the origin.

    The half-lines have the directions `(cosine, sine)` and `(cosine, -sine)`.
    The sine must not be negative, and the cosine must not be negative if the
    sine is zero. The distance is negative in the sector between them, around
    the positive `x` axis.

    If a direction has the length `r`, which may differ from one by rounding,
    the result is `r` times the distance. It is continuous for every direction,
    and `r`-Lipschitz.

    Reference:

    - [Singla & Feizi, 2022](https://arxiv.org/abs/2211.08453), equation 9
    """
    y = xp.abs(y)
    along = x * cosine + y * sine
    across = y * cosine - x * sine
    # For these points the nearest point is the origin, at the scaled distance
    # `r |(x, y)|`.
    is_behind = xp.logical_and(along < 0, across >= 0)
    squares = xp.square(across) + xp.square(along)
    return xp.where(is_behind, _safe_sqrt(xp, squares), across)


def point_distance(xp: Any, *coordinates: Tensor) -> Tensor:
    """Returns the distance between two points of a space of any dimension.

    Args:
        xp: `keras.ops` or NumPy.
        *coordinates: The coordinates of one point, then as many of the other.
    """
    dimension = len(coordinates) // 2
    pairs = zip(coordinates[:dimension], coordinates[dimension:], strict=True)
    squares = [xp.square(x - u) for x, u in pairs]
    return _safe_sqrt(xp, sum(squares[1:], squares[0]))


def polygon_distance(
    xp: Any, x: Tensor, y: Tensor, u: Tensor, v: Tensor
) -> Tensor:
    """Returns the distance from a closed polygon, negative inside it.

    If the polygon intersects itself, a point is inside if an odd number of
    edges separates it from infinity.

    Args:
        xp: `keras.ops` or NumPy.
        x: First coordinates of the points.
        y: Second coordinates.
        u: First coordinates of the vertices, on an additional last axis.
        v: Second coordinates.
    """
    x, y = xp.expand_dims(x, -1), xp.expand_dims(y, -1)
    above = xp.greater(v, y)
    return edge_distance(
        xp,
        point=(x, y),
        start=(u, v),
        edge=(_next(xp, u) - u, _next(xp, v) - v),
        is_above=(above, _next(xp, above)),
        length=1.0,
    )


def polyline_distance(
    xp: Any,
    x: Tensor,
    y: Tensor,
    u: Tensor,
    v: Tensor,
    cosines: Tensor,
    sines: Tensor,
) -> Tensor:
    """Returns the distance from a polyline, negative on its right.

    One half-line goes upwards from the first vertex and another one downwards
    from the last vertex, so that the polyline separates the plane. If it
    intersects itself, a point is on the right if an odd number of edges
    separates it from infinite negative `x`.

    Args:
        xp: `keras.ops` or NumPy.
        x: First coordinates of the points.
        y: Second coordinates.
        u: First coordinates of the vertices, on an additional last axis.
        v: Second coordinates.
        cosines: First coordinates of the directions of the two half-lines, on
            the last axis.
        sines: Second coordinates of the directions: the first is positive, the
            second negative.
    """
    x, y = xp.expand_dims(x, -1), xp.expand_dims(y, -1)
    above = xp.greater(v, y)
    up, down = xp.ones_like(above[..., :1]), xp.zeros_like(above[..., :1])
    num_edges = u.shape[-1] + 1
    length = np.ones(num_edges, dtype="float32")
    length[[0, -1]] = np.inf
    return edge_distance(
        xp,
        point=(x, y),
        start=(_repeat_first(xp, u), _repeat_first(xp, v)),
        edge=(_edges(xp, u, cosines), _edges(xp, v, sines)),
        is_above=(
            _repeat_first(xp, above),
            xp.concatenate([up, above[..., 1:], down], axis=-1),
        ),
        length=length,
    )


def edge_distance(
    xp: Any,
    point: Pair,
    start: Pair,
    edge: Pair,
    is_above: Pair,
    length: Any,
) -> Tensor:
    """Returns the distance from the nearest edge, negative inside the curve.

    A point is inside if the line from it towards negative `x` crosses an odd
    number of edges. This property can only change on the curve, even if the
    curve intersects itself. A straight path between points of different signs
    therefore crosses the curve, where both distances are zero. So the signed
    distance is 1-Lipschitz, because the distance is 1-Lipschitz.

    The last axis of all tensors is the axis of edges.

    Args:
        xp: `keras.ops` or NumPy.
        point: Coordinates of the points, with a last axis of one.
        start: Coordinates of the start of each edge.
        edge: The edges as vectors of any length. The formula divides by their
            length, so rounding them moves the curve but does not change the
            slope.
        is_above: Booleans: whether the start and the end of each edge are above
            the point. Edges with a common vertex must agree on it.
        length: Length of each edge in units of its vector: one, or `inf` for a
            half-line.

    Returns:
        A tensor without the last axis.

    Reference:

    - [Singla & Feizi, 2022](https://arxiv.org/abs/2211.08453), corollary 1
    """
    x, y = (of - at for of, at in zip(point, start, strict=True))
    u, v = edge
    squared_length = xp.square(u) + xp.square(v)
    # An edge of length zero is a point.
    is_point = xp.equal(squared_length, 0.0)
    along = (x * u + y * v) / xp.where(is_point, 1.0, squared_length)
    along = xp.minimum(xp.maximum(along, 0.0), length)
    squares = xp.square(x - along * u) + xp.square(y - along * v)
    distance = _safe_sqrt(xp, xp.min(squares, axis=-1))

    starts_above, ends_above = is_above
    # On JAX an array cannot be combined with a symbolic tensor on its right.
    is_right = xp.not_equal(y * u - x * v > 0, ends_above)
    crosses = xp.logical_and(xp.not_equal(starts_above, ends_above), is_right)
    return xp.prod(xp.where(crosses, -1.0, 1.0), axis=-1) * distance


DISTANCES: dict[str, Callable[..., Tensor]] = {
    "half_lines": half_line_distance,
    "point": point_distance,
    "polygon": polygon_distance,
    "polyline": polyline_distance,
}


def _safe_sqrt(xp: Any, squares: Tensor) -> Tensor:
    """Returns square roots, with a gradient of zero at zero."""
    is_zero = xp.equal(squares, 0.0)
    # Zeros are replaced before the square root, to avoid the gradient 0 * inf.
    roots = xp.sqrt(xp.where(is_zero, 1.0, squares))
    return xp.where(is_zero, 0.0, roots)


def _next(xp: Any, vertices: Tensor) -> Tensor:
    return xp.concatenate([vertices[..., 1:], vertices[..., :1]], axis=-1)


def _repeat_first(xp: Any, vertices: Tensor) -> Tensor:
    return xp.concatenate([vertices[..., :1], vertices], axis=-1)


def _edges(xp: Any, vertices: Tensor, ends: Tensor) -> Tensor:
    between = vertices[..., 1:] - vertices[..., :-1]
    return xp.concatenate([ends[..., :1], between, ends[..., 1:]], axis=-1)
