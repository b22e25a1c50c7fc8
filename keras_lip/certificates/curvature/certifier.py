"""Radii around the features of a curvature head."""

import numpy as np

from keras_lip.certificates.curvature.bounds import coarse_curvatures
from keras_lip.certificates.curvature.bounds import curvature_bound
from keras_lip.certificates.curvature.dual import solve_dual
from keras_lip.certificates.curvature.margins import CurvatureMargins
from keras_lip.certificates.curvature.margins import Margin
from keras_lip.certificates.curvature.margins import norm_up
from keras_lip.program.nodes.curvature_head import CurvatureHead
from keras_lip.proofs.matrix_norms import spectral_norm_bound
from keras_lip.proofs.rounding import UNDERFLOW
from keras_lip.proofs.rounding import gamma
from keras_lip.types import Array

# Factors that cover the roundings of a short formula without cancellation.
_DOWN = 1 - 2.0**-48
_UP = 1 + 2.0**-48

# The solver keeps `1 - eta K` above this value.
_ROOM = 2.0**-20

# Upper bound on the inner Hessians, so that they can be inverted.
_LARGEST_HESSIAN = 2.0**30

# Maximal number of array entries of the problems that are solved together.
_CHUNK = 2**22


class CurvatureCertifier:
    """Certifies features against perturbations of the features.

    Args:
        head: `CurvatureHead` of at least two classes.
    """

    def __init__(self, head: CurvatureHead) -> None:
        self._margins = CurvatureMargins(head)
        self._kernel = kernel = head.hidden_kernel
        self._kernel_norm = spectral_norm_bound(kernel)
        self._unit_norms = norm_up(kernel, axis=0)
        classes = len(head.bias)
        self._curvatures = np.full((classes, classes), np.nan)
        # The shortest step to another class lies in the range of the kernel, so
        # the search needs at most as many dimensions as hidden units.
        self._basis = None
        self._factor = kernel
        if kernel.shape[0] > kernel.shape[1] and np.isfinite(kernel).all():
            self._basis, self._factor = np.linalg.qr(kernel)

    def certify(self, x: Array, labels: Array, rounds: int) -> Array:
        """Returns radii around features.

        Args:
            x: Array of shape `(num_samples, input_dim)`.
            labels: Integer array of shape `(num_samples,)`.
            rounds: Integer. Maximal number of classes, nearest first, for which
                the dual is solved.

        Returns:
            Array of shape `(num_samples,)`.
        """
        classes = np.arange(len(self._curvatures))
        weights, offsets = self._margins.compare(labels[:, None], classes)
        margins = self._margins(x[:, None], weights, offsets)
        radii = self._cheap_radii(margins, weights)
        is_other = classes != labels[:, None]
        radii = np.where(is_other, radii, np.inf)
        solved = np.zeros_like(radii, dtype=bool)
        samples = np.arange(len(x))
        for _ in range(rounds):
            # Once the dual of the nearest class is solved, other classes cannot
            # reduce the radius.
            nearest = np.argmin(radii, axis=1)
            todo = ~solved[samples, nearest] & (radii[samples, nearest] > 0)
            rows, columns = samples[todo], nearest[todo]
            if not len(rows):
                break
            solved[rows, columns] = True
            sharper = self._solve(x[rows], labels[rows], columns)
            radii[rows, columns] = np.maximum(radii[rows, columns], sharper)
        return np.min(radii, axis=1)

    def _cheap_radii(self, margins: Margin, weights: Array) -> Array:
        curvatures = coarse_curvatures(
            weights, self._kernel_norm, self._unit_norms
        )
        slopes = self._kernel_norm * norm_up(weights) * _UP
        by_slope = margins.value / slopes * _DOWN
        by_curvature = closed_form_radii(margins, curvatures)
        # If one radius is NaN, the other may still be known.
        radii = np.fmax(by_slope, by_curvature)
        return np.where(margins.value > 0, np.nan_to_num(radii, nan=0.0), 0.0)

    def _solve(self, x: Array, labels: Array, others: Array) -> Array:
        size = max(1, _CHUNK // self._factor.size)
        return np.concatenate(
            [
                self._solve_chunk(
                    x[i : i + size], labels[i : i + size], others[i : i + size]
                )
                for i in range(0, len(x), size)
            ]
        )

    def _solve_chunk(self, x: Array, labels: Array, others: Array) -> Array:
        weights, offsets = self._margins.compare(labels, others)
        curvatures = self._find_curvatures(labels, others)
        closed = closed_form_radii(
            self._margins(x, weights, offsets), curvatures
        )
        kernel, bias = self._kernel, self._margins.head.hidden_bias
        stiffness = np.abs(weights) @ np.square(self._unit_norms) / 4
        multiplier, step = solve_dual(
            self._factor,
            x @ kernel + bias,
            weights,
            offsets,
            np.minimum((1 - _ROOM) / curvatures, _LARGEST_HESSIAN / stiffness),
        )
        target = x + (step if self._basis is None else step @ self._basis.T)
        dual = dual_values(
            target - x,
            multiplier,
            self._margins(target, weights, offsets),
            curvatures,
        )
        radii = np.fmax(closed, np.sqrt(2 * np.fmax(dual, 0.0)) * _DOWN)
        return np.nan_to_num(radii, nan=0.0)

    def _find_curvatures(self, labels: Array, others: Array) -> Array:
        for pair in np.unique(np.stack([labels, others], axis=1), axis=0):
            if np.isnan(self._curvatures[tuple(pair)]):
                weights, _ = self._margins.compare(*pair)
                self._curvatures[tuple(pair)] = curvature_bound(
                    weights, self._kernel
                )
        return self._curvatures[labels, others]


def closed_form_radii(margins: Margin, curvatures: Array) -> Array:
    """Returns the radii within which second-order bounds stay positive.

    Args:
        margins: `Margin` at the features.
        curvatures: Array. Bounds on the downward curvature of the margins.

    Returns:
        Array of radii, rounded down: the positive roots of `f - g r - K r^2 /
        2`.
    """
    slopes = norm_up(margins.gradient) + margins.gradient_error
    squares = np.square(slopes) + 2 * curvatures * margins.value
    return 2 * margins.value / (slopes + np.sqrt(squares)) * _DOWN


def dual_values(
    steps: Array, multipliers: Array, margins: Margin, curvatures: Array
) -> Array:
    """Returns lower bounds on values of the dual, for any steps.

    Args:
        steps: Array `s` of shape `(pairs, input_dim)`, off by one rounding.
        multipliers: Array `eta` of shape `(pairs,)`.
        margins: `Margin` at exactly `x + s`.
        curvatures: Array of shape `(pairs,)`. Bounds on the downward curvature
            of the margins.

    Returns:
        Array of shape `(pairs,)`. Half of the squared distance to the other
        class is at least this.
    """
    lengths, slopes = norm_up(steps), norm_up(margins.gradient)
    residuals = norm_up(steps + multipliers[:, None] * margins.gradient)
    rounding = (_UP - 1) * (lengths + multipliers * slopes)
    residuals += rounding + multipliers * margins.gradient_error * _UP
    rooms = _DOWN - multipliers * curvatures * _UP
    penalties = np.square(residuals) / (2 * rooms) * _UP
    squares = np.sum(np.square(steps), axis=-1) / 2
    squares *= 1 - 4 * gamma(steps.shape[-1] + 4)
    gains = multipliers * margins.value
    error = (_UP - 1) * (squares + np.abs(gains) + penalties) + UNDERFLOW
    values = squares + gains - penalties - error
    return np.where((multipliers >= 0) & (rooms > 0), values, -np.inf)
