"""Singular values of the Jacobians of a model at given inputs."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np

from keras_lip.graph import check_model
from keras_lip.live_model import LiveModel
from keras_lip.types import Array
from keras_lip.validation import check_number
from keras_lip.validation import check_positive_integer


@dataclasses.dataclass(frozen=True)
class JacobianSingularValues:
    """Singular values of the Jacobian of a model, for each sample.

    Args:
        values: Float64 array of shape `(num_samples, num_values)`, where
            `num_values` is the smaller of the number of inputs and the number
            of outputs. Each row is in descending order.
    """

    values: Array

    @property
    def least(self) -> float:
        """The smallest singular value of all samples."""
        return float(self.values.min())

    @property
    def largest(self) -> float:
        """The largest singular value of all samples."""
        return float(self.values.max())

    def share_near_one(self, tolerance: float = 0.05) -> float:
        """Returns the share of the singular values that are close to one.

        Args:
            tolerance: Non-negative float. Largest distance from one. Defaults
                to `0.05`.

        Returns:
            Float in [0, 1].

        Raises:
            ValueError: If `tolerance` is negative or not finite.
        """
        tolerance = check_number("tolerance", tolerance, 0.0)
        return float(np.mean(np.abs(self.values - 1.0) <= tolerance))

    def histogram(
        self, bins: int = 50, upper: float | None = None
    ) -> tuple[Array, Array]:
        """Counts the singular values of all samples in bins of equal width.

        Args:
            bins: Positive integer. Number of bins. Defaults to `50`.
            upper: Positive float. End of the last bin; the first one starts at
                zero. Larger values are not counted. Defaults to `None`, for the
                largest value, but at least one.

        Returns:
            Tuple of the integer array of counts, of shape `(bins,)`, and the
            float array of the edges of the bins, of shape `(bins + 1,)`.

        Raises:
            ValueError: If `bins` is not a positive integer or `upper` is not a
                positive number.
        """
        bins = check_positive_integer("bins", bins)
        if upper is None:
            upper = max(1.0, self.largest)
        upper = check_number("upper", upper, 0, open_low=True)
        return np.histogram(self.values, bins, range=(0.0, upper))

    def __str__(self) -> str:
        return (
            f"{self.values.size} singular values from {self.least:.4g} to "
            f"{self.largest:.4g}, {self.share_near_one():.1%} within 5 % of one"
        )


def jacobian_singular_values(
    model: keras.Model, inputs: Any, batch_size: int = 32
) -> JacobianSingularValues:
    """Computes the singular values of a model's Jacobian at given inputs.

    If all singular values are close to one (dynamical isometry), the model
    preserves the norm of gradients and of small changes of its inputs. The
    largest one is a lower estimate of the Lipschitz constant. These values
    prove nothing about robustness; `keras_lip.bounds.lipschitz_bound` does.

    The Jacobian is computed row by row, in the precision of the model, with one
    gradient for each output. To measure a part of a model, pass
    `keras.Model(model.inputs, layer.output)`.

    Args:
        model: A model with one input and one output, run at inference.
        inputs: Array of shape `(num_samples, *input_shape)`. The points at
            which to compute the Jacobian.
        batch_size: Positive integer. Number of samples differentiated at a
            time. Defaults to `32`.

    Returns:
        `JacobianSingularValues`.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If the model has several outputs, `batch_size` is not
            positive, `inputs` is empty or not finite, or a gradient is not
            finite.

    Example:

    >>> layer = keras_lip.layers.OrthogonalDense(3)
    >>> model = keras.Sequential([keras.Input((4,)), layer])
    >>> x = np.ones((2, 4))
    >>> found = keras_lip.bounds.jacobian_singular_values(model, x)
    >>> found.values.shape, found.share_near_one()
    ((2, 3), 1.0)

    Reference:

    - [Pennington et al., 2017](https://arxiv.org/abs/1711.04735), who call it
      dynamical isometry
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), section 2.2 and
      figure 2
    """
    batch_size = check_positive_integer("batch_size", batch_size)
    points = check_points(model, inputs)
    live = LiveModel(model)
    parts = []
    for start in range(0, len(points), batch_size):
        jacobians = compute_jacobians(live, points[start : start + batch_size])
        if not np.isfinite(jacobians).all():
            raise ValueError(
                f"The gradient of model '{model.name}' must be finite. "
                "Received: inputs at which it is not. Check the weights of the "
                "model and the range of the inputs."
            )
        parts.append(np.linalg.svd(jacobians, compute_uv=False))
    return JacobianSingularValues(np.concatenate(parts))


def check_points(model: Any, inputs: Any) -> Array:
    """Checks a model that is measured at given inputs.

    Returns:
        The inputs, as an array.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If it has several outputs, or `inputs` is empty or not
            finite.
    """
    check_model(model, needs_build=False)
    graph_outputs = keras.tree.flatten(getattr(model, "outputs", None))
    if len(graph_outputs) > 1:
        raise ValueError(
            f"Model '{model.name}' must have one output. Make a model with one "
            "output: `keras.Model(model.inputs, model.outputs[0])`. Received: "
            f"{len(graph_outputs)} outputs"
        )
    points = np.asarray(inputs)
    if len(points) == 0 or not np.isfinite(points).all():
        raise ValueError(
            "`inputs` must contain at least one sample and only finite "
            f"numbers. Received: an array of shape {points.shape}"
        )
    return points


def compute_jacobians(live: LiveModel, x: Array) -> Array:
    """Computes the Jacobian of each sample, row by row.

    Args:
        live: The `LiveModel`.
        x: Array of inputs.

    Returns:
        Float64 array of shape `(num_samples, num_outputs, num_inputs)`.
    """
    shape = live(x).shape
    num_outputs = math.prod(shape[1:])
    rows = []
    for index in range(num_outputs):
        weights = np.zeros((len(x), num_outputs))
        weights[:, index] = 1.0
        rows.append(
            live.pull_back(x, weights.reshape(shape)).reshape(len(x), -1)
        )
    return np.stack(rows, axis=1)
