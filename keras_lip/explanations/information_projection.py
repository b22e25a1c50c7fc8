"""Projects probabilities onto linear constraints."""

import dataclasses
from typing import Any

import numpy as np
from keras import ops

from keras_lip.types import Array
from keras_lip.validation import check_positive_integer

# Largest expectation that is accepted as zero, if the values of a constraint
# are at most one.
_TOLERANCE = 1e-10

# Logits of a larger spread are reached through higher temperatures, so that
# no exponential underflows on the way.
_SPREAD = 10.0


@dataclasses.dataclass(frozen=True)
class InformationProjection:
    """The distributions closest to softmax probabilities under constraints.

    `keras_lip.explanations.information_projection` returns it.

    Args:
        probabilities: Float64 array of shape `(num_samples, classes)`. The
            distributions that satisfy the constraints.
        parameters: Float64 array of shape `(num_samples, num_constraints)`. The
            factors `theta` of the constraints in the exponent.
        divergence: Float64 array of shape `(num_samples,)`. Kullback-Leibler
            divergence of the distributions from the softmax probabilities, in
            nats.
        residual: Float64 array of shape `(num_samples,)`. The largest absolute
            expectation of a constraint, which would be zero without rounding,
            divided by the largest absolute value of the constraint.
    """

    probabilities: Array
    parameters: Array
    divergence: Array
    residual: Array


def information_projection(
    logits: Any, constraints: Any, max_steps: int = 200
) -> InformationProjection:
    """Finds the distributions closest to a softmax under constraints.

    A constraint is a function `F_i` of the class, whose expectation must be
    zero. Of all distributions `p` with `E_p[F_i] = 0` for all `i`, this is the
    one that maximizes `H(p) + E_p[C]`, with the entropy `H` and the logits `C`.
    It is also the one with the least Kullback-Leibler divergence from
    `softmax(C)`. For example, `F = indicator - a` sets the probability of a set
    of classes to `a`, and leaves the proportions within and outside of the set
    unchanged.

    The maximum has the form `softmax(C + sum(theta_i * F_i))`, where `theta`
    minimizes the convex function `logsumexp(C + sum(theta_i * F_i))`. Newton's
    method finds it, in float64. There is a minimizer if zero is in the relative
    interior of the convex hull of the vectors `F(y)` of all classes. If zero is
    on the boundary of the hull, the constraints force the probabilities of some
    classes to be zero: the distribution is the limit, up to the tolerance, and
    `parameters` are large. If zero is outside of the hull, no distribution
    satisfies the constraints. Constraints may depend linearly on each other.
    Then the distribution is still unique, but `parameters` are not.

    Args:
        logits: Array of shape `(num_samples, classes)`.
        constraints: Array of shape `(num_constraints, classes)`. The value of
            every function for every class.
        max_steps: Positive integer. Limit of Newton's steps for a sample.
            Defaults to `200`.

    Returns:
        An `InformationProjection`.

    Raises:
        ValueError: If the arrays do not have these shapes or are not finite, if
            no distribution satisfies the constraints, or if Newton's method
            does not converge.

    Example:

    >>> even = np.array([[0.5, -0.5, 0.5]])  # classes 0 and 2 together: 1 / 2
    >>> found = keras_lip.explanations.information_projection(
    ...     np.log([[0.1, 0.8, 0.1]]), even
    ... )
    >>> found.probabilities.round(6).tolist()
    [[0.25, 0.5, 0.25]]

    Reference:

    - [Csiszár, 1975](https://doi.org/10.1214/aop/1176996454), Theorem 3.1
    - [Amari, 2016](https://doi.org/10.1007/978-4-431-55978-8)
    """
    max_steps = check_positive_integer("max_steps", max_steps)
    potentials = _to_matrix("logits", logits)
    functions = _to_matrix("constraints", constraints)
    if potentials.shape[1] != functions.shape[1]:
        raise ValueError(
            "`constraints` must have a value for every class. Received: "
            f"logits of shape {potentials.shape} and constraints of shape "
            f"{functions.shape}"
        )
    sizes = np.max(np.abs(functions), axis=1, keepdims=True)
    sizes = np.where(sizes > 0, sizes, 1.0)
    scaled = functions / sizes
    rows = [_project(each, scaled, max_steps) for each in potentials]
    probabilities, parameters, divergence, residual = (
        np.stack(each) for each in zip(*rows, strict=True)
    )
    return InformationProjection(
        probabilities, parameters / sizes[:, 0], divergence, residual
    )


def _to_matrix(name: str, values: Any) -> Array:
    if not isinstance(values, list | tuple):
        values = ops.convert_to_numpy(values)
    array = np.asarray(values, "float64")
    if array.ndim != 2 or not array.size or not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` must be a matrix of finite numbers with a column for "
            f"every class. Received: {name}={values!r}"
        )
    return array


def _project(
    logits: Array, functions: Array, max_steps: int
) -> tuple[Array, Array, Array, Array]:
    """Projects one distribution, by Newton's method at falling temperatures."""
    centered = logits - np.max(logits)
    temperature = max(1.0, -float(np.min(centered)) / _SPREAD)
    parameters = np.zeros(len(functions))
    while temperature > 1:
        # On the way a rough solution is enough.
        parameters = temperature * _minimize(
            centered / temperature,
            functions,
            parameters / temperature,
            max_steps,
            tolerance=1e-2,
        )
        temperature /= 2
    parameters = _minimize(
        centered, functions, parameters, max_steps, _TOLERANCE
    )
    value, probabilities = _evaluate(centered, functions, parameters)
    gradient = functions @ probabilities
    # `log(p / softmax(C))` is `theta F - value + logsumexp(C)`.
    before, _ = _evaluate(centered, functions, np.zeros(len(functions)))
    divergence = parameters @ gradient - value + before
    return (
        probabilities,
        parameters,
        np.maximum(divergence, 0.0),
        np.max(np.abs(gradient)),
    )


def _evaluate(
    logits: Array, functions: Array, parameters: Array
) -> tuple[Array, Array]:
    """Returns `logsumexp(C + theta F)` and its softmax."""
    exponents = logits + parameters @ functions
    largest = np.max(exponents)
    powers = np.exp(exponents - largest)
    total = np.sum(powers)
    return largest + np.log(total), powers / total


def _minimize(
    logits: Array,
    functions: Array,
    parameters: Array,
    max_steps: int,
    tolerance: float,
) -> Array:
    """Minimizes `logsumexp(C + theta F)` over `theta` by damped Newton steps.

    The gradient is `E_p[F]` and the Hessian the covariance of `F` under `p`.
    """
    for _ in range(max_steps):
        value, probabilities = _evaluate(logits, functions, parameters)
        gradient = functions @ probabilities
        if np.max(np.abs(gradient)) <= tolerance:
            return parameters
        # With such a `theta`, `E_p[theta F] < 0` for every distribution.
        if np.max(parameters @ functions) < 0:
            raise ValueError(
                "No distribution satisfies the constraints: a combination of "
                "them is negative for every class. Each constraint must be "
                "zero on average for some common distribution. Received, "
                f"divided by the largest values: {functions.tolist()}"
            )
        centered = functions - gradient[:, None]
        hessian = (probabilities * centered) @ centered.T
        step = -np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        if not gradient @ step < 0:
            step = -gradient
        # Far from the minimum the quadratic model is meaningless.
        step /= max(1.0, np.max(np.abs(step @ functions)) / _SPREAD)
        slope = 1e-4 * (gradient @ step)
        for _ in range(60):
            reached, _ = _evaluate(logits, functions, parameters + step)
            # The last digits of the values are rounding errors.
            if reached <= value + slope + 1e-15 * (1 + abs(value)):
                break
            step, slope = step / 2, slope / 2
        parameters = parameters + step
    raise ValueError(
        "Newton's method did not satisfy the constraints: the largest "
        f"expectation is {np.max(np.abs(gradient)):.3g}. Zero may be close to "
        "the boundary of what the constraints can reach. Pass more "
        f"`max_steps`. Received: max_steps={max_steps}"
    )
