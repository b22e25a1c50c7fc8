"""The convex optimization behind the certificate of a curvature head."""

from typing import NamedTuple

import numpy as np

from keras_lip.certificates.curvature.margins import sigmoid
from keras_lip.types import Array

_STEPS = 80

# Maximal change of a unit's input in one step.
_LONGEST = 3.0

# Relative tolerance of the dual. The relative error of the radius is half of
# it.
_TOLERANCE = 1e-12


class DualPoint(NamedTuple):
    """A point of the dual: multipliers, and steps from the features."""

    multiplier: Array
    step: Array


class _State(NamedTuple):
    """The problems that have not converged."""

    row: Array
    hidden: Array
    weights: Array
    offsets: Array
    largest: Array
    low: Array
    high: Array
    multiplier: Array
    step: Array

    def select(self, chosen: Array) -> "_State":
        return _State(*(field[chosen] for field in self))


def solve_dual(
    kernel: Array,
    hidden: Array,
    weights: Array,
    offsets: Array,
    largest: Array,
) -> DualPoint:
    """Maximizes `min_s |s|^2 / 2 + eta f(s)` over `eta`, for many `f` at once.

    Here `f(s) = a^T softplus(h + V^T s) + c`. The derivative of the minimum
    with respect to `eta` is `f` at the minimizer, so the solver finds a root of
    `f` along the path of minimizers. The result need not be exact: every
    multiplier and step give a valid bound.

    Args:
        kernel: Array `V` of shape `(size, hidden_units)`.
        hidden: Array `h` of shape `(problems, hidden_units)`.
        weights: Array `a` of shape `(problems, hidden_units)`.
        offsets: Array `c` of shape `(problems,)`.
        largest: Array of shape `(problems,)`. Upper bounds on the multipliers,
            which keep the minimization strongly convex.

    Returns:
        `DualPoint`: the multipliers `eta`, of shape `(problems,)`, and the
        minimizers `s`, of shape `(problems, size)`.
    """
    count, size = len(hidden), len(kernel)
    multipliers, steps = np.zeros(count), np.zeros((count, size))
    state = _State(
        row=np.arange(count),
        hidden=hidden,
        weights=weights,
        offsets=offsets,
        largest=largest,
        low=np.zeros(count),
        high=largest,
        multiplier=np.zeros(count),
        step=np.zeros((count, size)),
    )
    for _ in range(_STEPS):
        state, done = _advance(kernel, state)
        multipliers[state.row] = state.multiplier
        steps[state.row] = state.step
        state = state.select(~done)
        if not len(state.row):
            break
    return DualPoint(multipliers, steps)


class _Slopes(NamedTuple):
    """A margin at a step, and a first-order model of the minimizer."""

    value: Array
    gradient: Array
    residual: Array
    inner: Array
    path: Array


def _linearize(kernel: Array, state: _State) -> _Slopes:
    """Solves for the step to the minimizer and its derivative in `eta`."""
    hidden = state.hidden + state.step @ kernel
    slopes = sigmoid(hidden)
    value = np.sum(state.weights * np.logaddexp(0.0, hidden), axis=-1)
    gradient = (state.weights * slopes) @ kernel.T
    multiplier = state.multiplier[:, None]
    residual = state.step + multiplier * gradient
    curvature = multiplier * state.weights * slopes * (1 - slopes)
    hessian = np.eye(len(kernel)) + (kernel * curvature[:, None, :]) @ kernel.T
    sides = np.stack([residual, gradient], axis=-1)
    solved = -np.linalg.solve(hessian, sides)
    return _Slopes(
        value + state.offsets,
        gradient,
        residual,
        solved[..., 0],
        solved[..., 1],
    )


def _advance(kernel: Array, state: _State) -> tuple[_State, Array]:
    """Makes one joint step of Newton's method in multiplier and step."""
    value, gradient, residual, inner, path = _linearize(kernel, state)
    # First-order value of `f` at the minimizer. Its sign shows on which side
    # the root is.
    drift = np.sum(gradient * inner, axis=-1)
    ahead = value + drift
    certain = 2 * np.abs(drift) <= np.abs(ahead)
    low = np.where(certain & (ahead > 0), state.multiplier, state.low)
    high = np.where(certain & (ahead < 0), state.multiplier, state.high)
    wanted = state.multiplier - ahead / np.sum(gradient * path, axis=-1)
    inside = (wanted > low) & (wanted < high)
    wanted = np.where(inside, wanted, (low + high) / 2)
    at_end = (high == state.largest) & (ahead > 0) & ~inside
    wanted = np.where(at_end, state.largest, wanted)
    change = wanted - state.multiplier
    step = inner + change[:, None] * path
    # A unit whose input changes a lot may skip the region where it is curved.
    far = np.max(np.abs(step @ kernel), axis=-1)
    rate = np.minimum(1.0, _LONGEST / np.maximum(far, _LONGEST))
    wanted = state.multiplier + rate * change
    step = state.step + rate[:, None] * step
    # Estimated distance to the maximum of the dual.
    missing = np.abs(np.sum(residual * inner, axis=-1)) + np.abs(change * value)
    energy = np.sum(np.square(state.step), axis=-1) / 2
    advanced = state._replace(low=low, high=high, multiplier=wanted, step=step)
    return advanced, missing <= _TOLERANCE * energy
