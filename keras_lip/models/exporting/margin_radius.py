"""The certified radius as a part of the model: margins over constants."""

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
    """Computes labels and radii from logits, by the constants of margins.

    The logits `z` of a runtime are assumed to be off by at most
    `logit_tolerance * (L |x| + max |z|)`, with `L` the bound of the model.
    Twice that is taken off each margin, which is divided by its constant.

    Roundings of float32: a difference of logits is off by `2^-24` of itself.
    What is taken off is larger than it must be, by more than that: by
    `norm_slack`, which covers its own sums, and by what underflows. Constants
    are rounded up. So the differences, the quotient and the product each
    enlarge a radius by `2^-24` at most, together by less than `SHRINK` takes.

    Args:
        bounds: `PairBounds` of the model.
        logit_tolerance: Float, at least zero.
        size: Integer. How many numbers an input consists of.
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
        """Returns the share of the tolerance that a runtime has used up.

        Args:
            x: Array of shape `(batch, size)`, float64.
            logits: Float64 array of shape `(batch, classes)`, as they should
                be.
            found: Array of that shape. The runtime's.

        Returns:
            Float, at most one where the assumption holds of these inputs.
        """
        allowed = self._bounds.lipschitz_bound * np.linalg.norm(x, axis=1)
        allowed = self._tolerance * (allowed + np.max(np.abs(found), axis=1))
        return used_share(np.max(np.abs(found - logits), axis=1), allowed)

    def _rates(self) -> Array:
        # A class has no margin over itself; any other number does as well.
        rates = self._bounds.matrix.copy()
        np.fill_diagonal(rates, rates[0, 1])
        return rates


def used_share(errors: Array, allowed: Array) -> float:
    """Returns the largest quotient of errors and what is allowed of them."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(errors == 0, 0.0, errors / allowed)
    largest = float(np.max(shares, initial=0.0))
    # What is not a number has used up everything.
    return math.inf if math.isnan(largest) else largest
