"""Pooling of groups of channels by their distance from a trainable set."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.layers.activations.channel_groups import channel_shape
from keras_lip.layers.activations.channel_groups import check_groups
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.pooling.pooled_sums import upcast
from keras_lip.linalg.plane_distances import DISTANCES
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import sample_axis
from keras_lip.program.nodes.distances import Distance
from keras_lip.read_weight import read_weight
from keras_lip.types import Array
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_integer
from keras_lip.validation import check_known
from keras_lip.validation import check_positive_integer

_FEWEST_VERTICES = {"polygon": 3, "polyline": 1}

# The ends of a polyline keep at least this angle from the first axis, so that
# rounding cannot make them cross it.
_SMALLEST_ANGLE = 0.01


@keras.saving.register_keras_serializable(package="keras_lip")
class ProjectionPooling(LipschitzLayer):
    """Pools groups of channels to their distance from a trainable set.

    For `2 c` input channels, the channels `i` and `c + i` form a point of the
    plane. Output channel `i` is the l2 distance of this point from a trainable
    set; each pair has its own set. The distance from any set is 1-Lipschitz, so
    the layer is 1-Lipschitz in the l2 norm. The distance is signed if the set
    is a curve that separates the plane. It is still 1-Lipschitz, because a path
    from one side to the other crosses the curve, where the distance is zero.
    With a `group_size` of `n` the channels `i, c + i, ..., (n - 1) c + i` of `n
    c` channels form a point of the `n`-dimensional space. The sets are:

    - `"half_lines"`: two half-lines from the origin at the angles `theta` and
      `-theta` to the first axis, with `theta` between zero and `pi / 2`. The
      distance is negative between them, around the positive first axis.
    - `"point"`: a point, of a space of any dimension. The distance has no sign.
    - `"polygon"`: a closed polygon. The distance is negative inside. If the
      polygon intersects itself, a point is inside if an odd number of edges
      separates it from infinity.
    - `"polyline"`: a polyline that ends in two half-lines, the first upwards
      and the last downwards, at any angle. The distance is negative on the
      right, by the same even-odd rule.

    The distance from half-lines is computed with unit vectors. The length of a
    rounded vector is not exactly one, so the distance may be stretched.
    `lipschitz_bound` is the largest length of the rounded vectors. The other
    distances need no unit vectors.

    Args:
        projection: Name of the set. Defaults to `"half_lines"`.
        num_vertices: Integer. Number of vertices of a polygon, at least three,
            or of a polyline, at least one. Defaults to `None`, for four
            vertices.
        axis: Integer. The channel axis. Defaults to `-1`, the last axis.
        group_size: Positive integer. Number of channels that form a point. Sets
            other than `"point"` need `2`. Defaults to `2`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is none of these, `num_vertices` is given for
            a set without vertices, `group_size` is not `2` for another set than
            `"point"`, or the number of channels is not a multiple of it.

    Input shape:
        Arbitrary, with a batch axis first.

    Output shape:
        Same as the input, with the channels divided by `group_size`.

    Example:

    >>> layer = keras_lip.layers.ProjectionPooling("point")
    >>> outputs = layer(np.array([[3.0, 6.0, 4.0, 8.0]]))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[5.0, 10.0]]
    >>> layer = keras_lip.layers.ProjectionPooling("point", group_size=4)
    >>> outputs = layer(np.array([[1.0, 1.0, 1.0, 1.0]]))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[2.0]]

    Reference:

    - [Singla & Feizi, 2022](https://arxiv.org/abs/2211.08453), theorem 2,
      corollary 1, and equation 9 for the half-lines
    """

    def __init__(
        self,
        projection: str = "half_lines",
        num_vertices: int | None = None,
        axis: int = -1,
        *,
        group_size: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_known("projection", projection, DISTANCES)
        self.projection = projection
        self.num_vertices = _check_num_vertices(projection, num_vertices)
        self.axis = check_integer("axis", axis)
        self.group_size = check_positive_integer("group_size", group_size)
        if projection != "point" and group_size != 2:
            raise ValueError(
                f"`group_size` of the projection {projection!r} must be 2, "
                "because the set is in the plane. Use 'point' for other sizes. "
                f"Received: projection={projection!r}, group_size={group_size}"
            )

    def build(self, input_shape: Shape) -> None:
        check_groups(self, input_shape, self.axis, self.group_size)
        channels: Any = input_shape[self.axis]
        groups = channels // self.group_size
        # The parameters stay in float32 under mixed precision, like a free
        # kernel.
        if self.projection == "half_lines":
            self.free_theta = self.add_weight(
                name="free_theta",
                shape=(groups,),
                initializer="zeros",
                autocast=False,
            )
        else:
            self.vertices = self.add_weight(
                name="vertices",
                shape=(self.group_size, groups, self.num_vertices or 1),
                initializer=_INITIALIZERS[self.projection],
                autocast=False,
            )
        if self.projection == "polyline":
            self.free_angles = self.add_weight(
                name="free_angles",
                shape=(groups, 2),
                initializer="zeros",
                autocast=False,
            )
        self.input_spec = keras.layers.InputSpec(
            ndim=len(input_shape), axes={self.axis: channels}
        )

    def _compute_set(self) -> list[Tensor]:
        """Returns the parameters of the sets, one row per group of channels.

        Returns:
            List of tensors: the cosines and sines of `theta`, or the
            coordinates of the vertices, followed for polylines by the cosines
            and sines of the two ends.
        """
        if self.projection == "half_lines":
            theta = math.pi / 2 * ops.sigmoid(self.free_theta)
            return [ops.cos(theta), ops.sin(theta)]
        coordinates = ops.unstack(ops.convert_to_tensor(self.vertices))
        if self.projection == "point":
            return [vertices[:, 0] for vertices in coordinates]
        if self.projection == "polygon":
            return coordinates
        spread = math.pi - 2 * _SMALLEST_ANGLE
        angles = _SMALLEST_ANGLE + spread * ops.sigmoid(self.free_angles)
        up_and_down = np.array([1, -1], dtype="float32")
        sines = ops.multiply(ops.sin(angles), up_and_down)
        return [*coordinates, ops.cos(angles), sines]

    def call(self, inputs: Tensor) -> Tensor:
        ndim = len(inputs.shape)
        values = [
            ops.reshape(values, self._align(values.shape, ndim))
            for values in self._compute_set()
        ]
        return self._pool(inputs, values)

    def _pool(self, inputs: Tensor, values: list[Tensor]) -> Tensor:
        point = ops.split(upcast(inputs), self.group_size, axis=self.axis)
        distance = DISTANCES[self.projection](ops, *point, *values)
        return ops.cast(distance, inputs.dtype)

    def _align(self, shape: Shape, ndim: int) -> tuple[Any, ...]:
        """Returns the shape that aligns rows with the channel axis."""
        return (*channel_shape(ndim, self.axis), *shape[1:])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape: list[Any] = list(input_shape)
        if shape[self.axis] is not None:
            shape[self.axis] //= self.group_size
        return tuple(shape)

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        values = tuple(map(read_weight, self._compute_set()))
        axis = sample_axis(x, self.axis)
        return x.then(Distance(self.projection, values, axis))

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "projection": self.projection,
            "num_vertices": self.num_vertices,
            "axis": self.axis,
            "group_size": self.group_size,
        }


def _check_num_vertices(projection: str, num_vertices: Any) -> int | None:
    if projection not in _FEWEST_VERTICES:
        if num_vertices is not None:
            raise ValueError(
                "`num_vertices` is for the projections 'polygon' and "
                f"'polyline' only. Received: projection={projection!r}, "
                f"num_vertices={num_vertices!r}"
            )
        return None
    fewest = _FEWEST_VERTICES[projection]
    number = 4 if num_vertices is None else num_vertices
    if check_positive_integer("num_vertices", number) < fewest:
        raise ValueError(
            f"`num_vertices` of a {projection} must be at least {fewest}. "
            f"Received: num_vertices={num_vertices}"
        )
    return int(number)


def _initialize_polygon(shape: tuple[int, ...], dtype: Any = None) -> Tensor:
    """Returns regular polygons with vertices on the unit circle."""
    angles = 2 * math.pi * (np.arange(shape[-1]) + 0.5) / shape[-1]
    return _repeat(np.stack([np.cos(angles), np.sin(angles)]), shape, dtype)


def _initialize_polyline(shape: tuple[int, ...], dtype: Any = None) -> Tensor:
    """Returns vertices on the second axis, from the top down."""
    number = shape[-1]
    heights = 1 - (2 * np.arange(number) + 1) / number
    return _repeat(np.stack([np.zeros(number), heights]), shape, dtype)


def _repeat(vertices: Array, shape: tuple[int, ...], dtype: Any) -> Tensor:
    repeated = np.broadcast_to(vertices[:, np.newaxis], shape)
    return ops.convert_to_tensor(repeated, dtype=dtype)


_INITIALIZERS: dict[str, Any] = {
    "point": "zeros",
    "polygon": _initialize_polygon,
    "polyline": _initialize_polyline,
}
