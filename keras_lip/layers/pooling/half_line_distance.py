"""The signed distance to two half-lines."""

from keras import ops

from keras_lip.layers.pooling.safe_sqrt import safe_sqrt
from keras_lip.types import Tensor


def half_line_distance(
    x: Tensor, y: Tensor, cosine: Tensor, sine: Tensor
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
    y = ops.abs(y)
    along = x * cosine + y * sine
    across = y * cosine - x * sine
    # From here the nearest point is the origin, `r |(x, y)|` away.
    is_behind = ops.logical_and(along < 0, across >= 0)
    squares = ops.square(across) + ops.square(along)
    return ops.where(is_behind, safe_sqrt(squares), across)
