"""The perturbed inputs that a certificate speaks of."""

import dataclasses

import numpy as np

from keras_lip.types import Array


@dataclasses.dataclass(frozen=True)
class PerturbationBall:
    """A ball around each sample of a batch, cut to what inputs may be.

    Args:
        center: Float64 array of shape `(batch_size, *input_shape)`.
        radius: Array of shape `(batch_size,)`.
        norm: `"l2"` or `"linf"`.
        bounds: Least and greatest value of an entry of an input, or `None` if
            there are none. The centers keep them.
    """

    center: Array
    radius: Array
    norm: str
    bounds: tuple[float, float] | None

    def distances(self, points: Array) -> Array:
        """Returns how far points are from the centers."""
        return batch_norms(points - self.center, self.norm)

    def scale(self, steps: Array, factors: Array) -> Array:
        """Returns the points at multiples of steps from the centers."""
        factors = factors.reshape(-1, *[1] * (steps.ndim - 1))
        return self._clip(self.center + factors * steps)

    def project(self, points: Array) -> Array:
        """Moves points that are outside of the balls into them."""
        steps = points - self.center
        if self.norm == "linf":
            size = self.radius.reshape(-1, *[1] * (steps.ndim - 1))
            return self._clip(self.center + np.clip(steps, -size, size))
        lengths = np.maximum(self.distances(points), 1e-300)
        return self.scale(steps, np.minimum(1.0, self.radius / lengths))

    def move(self, points: Array, slopes: Array, share: float) -> Array:
        """Moves points along gradients and back into the balls.

        Args:
            points: Array of points.
            slopes: Array of the same shape, the gradients.
            share: Float. Length of the step over the radius.
        """
        if self.norm == "linf":
            slopes = np.sign(slopes)
        else:
            lengths = np.maximum(batch_norms(slopes, "l2"), 1e-300)
            slopes = slopes / lengths.reshape(-1, *[1] * (slopes.ndim - 1))
        size = share * self.radius.reshape(-1, *[1] * (slopes.ndim - 1))
        return self.project(points + size * slopes)

    def draw(self, generator: np.random.Generator) -> Array:
        """Draws a point of each ball, most of them far from its center."""
        steps = np.asarray(generator.normal(size=self.center.shape))
        return self.move(self.center, steps, 1.0)

    def _clip(self, points: Array) -> Array:
        # The centers keep the bounds, so that this only brings points nearer.
        return points if self.bounds is None else np.clip(points, *self.bounds)


def batch_norms(batch: Array, norm: str) -> Array:
    """Returns the l1, l2 or linf norm of each sample of a batch."""
    order = {"l1": 1, "l2": 2, "linf": np.inf}[norm]
    flat = batch.reshape(len(batch), -1)
    # Squares must not underflow: points that are near would pass for the same.
    largest = np.max(np.abs(flat), axis=-1, initial=0.0)
    scale = np.where(largest > 0, largest, 1.0)
    return scale * np.linalg.norm(flat / scale[:, None], ord=order, axis=-1)
