"""The perturbed inputs that a certificate covers."""

import dataclasses

import numpy as np

from keras_lip.types import Array


@dataclasses.dataclass(frozen=True)
class PerturbationBall:
    """A ball around each sample of a batch, clipped to valid inputs.

    Args:
        center: Float64 array of shape `(batch_size, *input_shape)`.
        radius: Array of shape `(batch_size,)`.
        norm: `"l2"` or `"linf"`.
        bounds: Smallest and largest value of an input entry, or `None` for no
            limits. The centers are within the limits.
    """

    center: Array
    radius: Array
    norm: str
    bounds: tuple[float, float] | None

    def has_points(self) -> Array:
        """Whether float64 knows a point of each ball besides its center.

        Returns:
            Boolean array of shape `(batch_size,)`.
        """
        size = self.radius.reshape(-1, *[1] * (self.center.ndim - 1))
        other = self._clip(self.center + size) != self.center
        other |= self._clip(self.center - size) != self.center
        found: Array = other.reshape(len(other), -1).any(axis=1)
        return found

    def distances(self, points: Array) -> Array:
        """Returns the distances of points from the centers."""
        return batch_norms(points - self.center, self.norm)

    def scale(self, steps: Array, factors: Array) -> Array:
        """Returns the points at multiples of steps from the centers."""
        factors = factors.reshape(-1, *[1] * (steps.ndim - 1))
        return self._clip(self.center + factors * steps)

    def project(self, points: Array) -> Array:
        """Projects points into the balls."""
        steps = points - self.center
        if self.norm == "linf":
            size = self.radius.reshape(-1, *[1] * (steps.ndim - 1))
            return self._clip(self.center + np.clip(steps, -size, size))
        lengths = np.maximum(self.distances(points), 1e-300)
        return self.scale(steps, np.minimum(1.0, self.radius / lengths))

    def move(self, points: Array, slopes: Array, share: float) -> Array:
        """Moves points along gradients and projects them into the balls.

        Args:
            points: Array of points.
            slopes: Array of the same shape. The gradients.
            share: Float. Length of the step divided by the radius.
        """
        if self.norm == "linf":
            slopes = np.sign(slopes)
        else:
            lengths = np.maximum(batch_norms(slopes, "l2"), 1e-300)
            slopes = slopes / lengths.reshape(-1, *[1] * (slopes.ndim - 1))
        size = share * self.radius.reshape(-1, *[1] * (slopes.ndim - 1))
        return self.project(points + size * slopes)

    def draw(self, generator: np.random.Generator) -> Array:
        """Draws a random point in each ball, usually far from its center."""
        steps = np.asarray(generator.normal(size=self.center.shape))
        return self.move(self.center, steps, 1.0)

    def _clip(self, points: Array) -> Array:
        # The centers are within the bounds, so clipping only reduces distances.
        return points if self.bounds is None else np.clip(points, *self.bounds)


def batch_norms(batch: Array, norm: str) -> Array:
    """Returns the l1, l2 or linf norm of each sample of a batch."""
    order = {"l1": 1, "l2": 2, "linf": np.inf}[norm]
    flat = batch.reshape(len(batch), -1)
    # Rescale so that squares do not underflow. Otherwise close points would
    # have distance zero.
    largest = np.max(np.abs(flat), axis=-1, initial=0.0)
    scale = np.where(largest > 0, largest, 1.0)
    return scale * np.linalg.norm(flat / scale[:, None], ord=order, axis=-1)
