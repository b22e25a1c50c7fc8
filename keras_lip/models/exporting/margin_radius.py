"""The certified radius, as part of the exported model."""

import math

import numpy as np
from keras import ops

from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.models.exporting.radius_operations import are_finite
from keras_lip.models.exporting.radius_operations import find_label
from keras_lip.models.exporting.radius_operations import finish_radius
from keras_lip.models.exporting.radius_operations import float32_up
from keras_lip.models.exporting.radius_operations import least_radius
from keras_lip.models.exporting.radius_operations import lookup_rows
from keras_lip.models.exporting.radius_operations import norm_floor
from keras_lip.models.exporting.radius_operations import norm_slack
from keras_lip.models.exporting.radius_operations import vector_norm
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import multiply_up
from keras_lip.types import Array
from keras_lip.types import Tensor


class MarginRadius:
    """Computes labels and radii from logits and the constants of margins.

    The logits `z` of a runtime are assumed to be off by at most
    `logit_tolerance * (L |x| + max |z|)`, where `L` is the bound of the model.
    Twice this tolerance is subtracted from each margin, and the result is
    divided by the margin's constant.

    Rounding errors in float32: the difference of two logits has a relative
    error of `2^-24`. The computed tolerance is rounded up: it includes
    `norm_slack`, which covers the rounding of its own sums, and a term for
    underflow. Constants are rounded up. So the difference, the quotient and the
    product each enlarge a radius by a factor of at most `1 + 2^-24`, and
    `SHRINK` reduces it by more.

    Args:
        bounds: `PairBounds` of the model.
        logit_tolerance: Non-negative float.
        size: Integer. Number of entries of one input.
    """

    def __init__(
        self, bounds: PairBounds, logit_tolerance: float, size: int
    ) -> None:
        self._bounds = bounds
        self._tolerance = logit_tolerance
        share = 2 * logit_tolerance
        reach = multiply_up(
            share, norm_slack(size), max(bounds.lipschitz_bound, 0.0)
        )
        self._by_input = float(float32_up(reach))
        self._by_logits = float(float32_up(multiply_up(share, norm_slack(0))))
        self._least = float(
            float32_up(add_up(multiply_up(reach, norm_floor(size)), 2.0**-96))
        )

    def __call__(
        self, inputs: Tensor, logits: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns logits, labels and radii.

        Args:
            inputs: Float32 tensor of shape `(batch, size)`.
            logits: Float32 tensor of shape `(batch, classes)`.
        """
        size = ops.max(ops.abs(logits), axis=-1, keepdims=True)
        loss = ops.add(
            ops.multiply(vector_norm(inputs), self._by_input),
            ops.add(ops.multiply(size, self._by_logits), self._least),
        )
        finite = are_finite(ops.square(inputs), logits)
        if logits.shape[-1] == 1:
            labels = ops.cast(ops.greater(logits[:, 0], 0.0), "int32")
            margins = ops.relu(ops.subtract(ops.abs(logits), loss))
            rate = float(float32_up(self._bounds.matrix[0, 0]))
            radii = ops.min(ops.divide(margins, rate), axis=-1)
            return logits, labels, finish_radius(radii, finite)
        labels = find_label(logits)
        top = ops.max(logits, axis=-1, keepdims=True)
        margins = ops.subtract(ops.subtract(top, logits), loss)
        rates = lookup_rows(self._rates(), labels)
        radii = least_radius(
            ops.divide(ops.relu(margins), rates),
            ops.one_hot(labels, logits.shape[-1], dtype="float32"),
        )
        return logits, labels, finish_radius(radii, finite)

    def check(self, x: Array, logits: Array, found: Array) -> float:
        """Returns the fraction of the tolerance that a runtime uses.

        Args:
            x: Array of shape `(batch, size)`, float64.
            logits: Float64 array of shape `(batch, classes)`. The exact logits.
            found: Array of the same shape. The runtime's logits.

        Returns:
            Float. At most one if the assumption holds at these inputs.
        """
        allowed = self._bounds.lipschitz_bound * np.linalg.norm(x, axis=1)
        allowed = self._tolerance * (allowed + np.max(np.abs(found), axis=1))
        return used_share(np.max(np.abs(found - logits), axis=1), allowed)

    def _rates(self) -> Array:
        # A class has no margin over itself. Any positive constant works here.
        rates = self._bounds.matrix.copy()
        np.fill_diagonal(rates, rates[0, 1])
        return rates


def used_share(errors: Array, allowed: Array) -> float:
    """Returns the largest quotient of an error and its allowed value."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(errors == 0, 0.0, errors / allowed)
    largest = float(np.max(shares, initial=0.0))
    # NaN counts as a violation.
    return math.inf if math.isnan(largest) else largest
