"""Signed distances from sets in the plane.

Each function takes `keras.ops` or NumPy first, and computes with it: a layer
and its frozen program measure by the same formulas.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_lip.types import Tensor

Pair = tuple[Tensor, Tensor]


def half_line_distance(
    xp: Any, x: Tensor, y: Tensor, cosine: Tensor, sine: Tensor
) -> Tensor:
    """Returns the signed distance to two half-lines from the origin.

    They point in the directions `(cosine, sine)` and `(cosine, -sine)`, of
    which the sine is not negative, nor the cosine where the sine is zero. The
    sector between them, about the positive `x`, is negative.

    If a direction has the length `r`, of which rounding may make something else
    than one, the result is `r` times the distance: it is continuous for every
    direction, and `r`-Lipschitz.

    Reference:

    - [Singla & Feizi, 2022](https://arxiv.org/abs/2211.08453), equation 9
    """
    y = xp.abs(y)
    along = x * cosine + y * sine
    across = y * cosine - x * sine
    # From here the nearest point is the origin, `r |(x, y)|` away.
    is_behind = xp.logical_and(along < 0, across >= 0)
    squares = xp.square(across) + xp.square(along)
    return xp.where(is_behind, _safe_sqrt(xp, squares), across)


def point_distance(
    xp: Any, x: Tensor, y: Tensor, u: Tensor, v: Tensor
) -> Tensor:
    """Returns the distance of `(x, y)` from `(u, v)`."""
    return _safe_sqrt(xp, xp.square(x - u) + xp.square(y - v))


def polygon_distance(
    xp: Any, x: Tensor, y: Tensor, u: Tensor, v: Tensor
) -> Tensor:
    """Returns the distance to a closed polygon, negative inside of it.

    It may intersect itself: what an even number of edges separates from
    infinity is outside.

    Args:
        xp: `keras.ops` or NumPy.
        x: First coordinates of the points.
        y: Second coordinates.
        u: First coordinates of the vertices, on one more axis, the last.
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
    """Returns the distance to a polyline, negative to the right of it.

    A half-line goes from the first vertex upwards and one from the last
    downwards, so that the polyline separates the plane. It may intersect
    itself: to the right is what an odd number of edges separates from infinite
    negative `x`.

    Args:
        xp: `keras.ops` or NumPy.
        x: First coordinates of the points.
        y: Second coordinates.
        u: First coordinates of the vertices, on one more axis, the last.
        v: Second coordinates.
        cosines: First coordinates of the directions of the two half-lines, on
            the last axis.
        sines: Second coordinates: one that is positive and one that is
            negative.
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
    """Returns the distance to the nearest edge, negative inside of the curve.

    A point is inside if the line from it towards negative `x` crosses an odd
    number of edges. Whether it does changes on the curve alone, however the
    curve meets itself: a straight path between points of different signs
    crosses the curve, where both distances are zero. So the signed distance is
    1-Lipschitz because the distance is.

    Edges are the last axis of all tensors.

    Args:
        xp: `keras.ops` or NumPy.
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
    squared_length = xp.square(u) + xp.square(v)
    # An edge without length is a point.
    is_point = xp.equal(squared_length, 0.0)
    along = (x * u + y * v) / xp.where(is_point, 1.0, squared_length)
    along = xp.minimum(xp.maximum(along, 0.0), length)
    squares = xp.square(x - along * u) + xp.square(y - along * v)
    distance = _safe_sqrt(xp, xp.min(squares, axis=-1))

    starts_above, ends_above = is_above
    # On JAX an array does not know symbols: they come first.
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
    """Returns the square roots, whose gradient at zero is zero."""
    is_zero = xp.equal(squares, 0.0)
    # Zero is kept from the root itself: 0 * inf is no gradient.
    roots = xp.sqrt(xp.where(is_zero, 1.0, squares))
    return xp.where(is_zero, 0.0, roots)


def _next(xp: Any, vertices: Tensor) -> Tensor:
    return xp.concatenate([vertices[..., 1:], vertices[..., :1]], axis=-1)


def _repeat_first(xp: Any, vertices: Tensor) -> Tensor:
    return xp.concatenate([vertices[..., :1], vertices], axis=-1)


def _edges(xp: Any, vertices: Tensor, ends: Tensor) -> Tensor:
    between = vertices[..., 1:] - vertices[..., :-1]
    return xp.concatenate([ends[..., :1], between, ends[..., 1:]], axis=-1)
