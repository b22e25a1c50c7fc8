"""How near the boundary of a head is, found by searching for it."""

import numpy as np


def true_distances(x, hidden_kernel, hidden_bias, weights, offsets, rng):
    """Finds how far features are from where a margin is no longer positive.

    Several searches for each margin walk to where the boundary is nearest by
    its tangents. The nearest point that one of them has found is then improved
    by Newton's method on the conditions of optimality. Only points where the
    margin is proven negative by evaluating it count: no distance is too small.

    Args:
        x: Array of shape `(heads, input_dim)`.
        hidden_kernel: Array of shape `(heads, input_dim, hidden_units)`.
        hidden_bias: Array of shape `(heads, hidden_units)`.
        weights: Array of shape `(heads, margins, hidden_units)`.
        offsets: Array of shape `(heads, margins)`. The margins are
            `weights . softplus(x hidden_kernel + hidden_bias) + offsets`.
        rng: `np.random.Generator`.

    Returns:
        Array of shape `(heads,)`. The smallest distances found, of all margins.
    """
    starts = 3
    weights = np.repeat(weights, starts, axis=1)
    offsets = np.repeat(offsets, starts, axis=1)
    hidden = (x[:, None] @ hidden_kernel)[:, 0] + hidden_bias
    steps = rng.normal(size=(*offsets.shape, x.shape[1]))
    steps[:, ::starts] = 0
    heads = np.arange(len(x))
    best = np.full(offsets.shape, np.inf)

    def evaluate(steps, weights, offsets):
        inner = hidden[:, None] + steps @ hidden_kernel
        power = np.exp(-np.abs(inner))
        values = np.sum(weights * (np.maximum(inner, 0) + np.log1p(power)), -1)
        slopes = np.where(inner > 0, 1, power) / (1 + power)
        gradients = (weights * slopes) @ hidden_kernel.swapaxes(1, 2)
        return values + offsets, gradients, slopes * (1 - slopes)

    def distances(steps, values, gradients, weights, offsets):
        # A little further, so that the margin is negative and not just zero.
        norms = np.linalg.norm(steps, axis=-1, keepdims=True)
        further = 1e-9 * norms * gradients
        further /= np.linalg.norm(gradients, axis=-1, keepdims=True)
        beyond = steps - further
        values, _, _ = evaluate(beyond, weights, offsets)
        norms = np.linalg.norm(beyond, axis=-1)
        return np.where(values < 0, norms, np.inf)

    for i in range(50):
        values, gradients, _ = evaluate(steps, weights, offsets)
        squares = np.sum(gradients**2, -1)
        if i >= 40:
            found = distances(steps, values, gradients, weights, offsets)
            best = np.minimum(best, found)
        along = (np.sum(gradients * steps, -1) - values) / squares
        # Half of the way only, every other time, which ends most cycles.
        rate = 1 if i % 2 else 0.5
        steps = steps + rate * (along[..., None] * gradients - steps)

    # The nearest one of each head is improved, with its multiplier.
    nearest = np.argmin(
        np.where(np.isfinite(best), best, np.linalg.norm(steps, axis=-1) + 1e9),
        axis=1,
    )
    steps = steps[heads, nearest][:, None]
    weights = weights[heads, nearest][:, None]
    offsets = offsets[heads, nearest][:, None]
    values, gradients, _ = evaluate(steps, weights, offsets)
    multipliers = -np.sum(steps * gradients, -1) / np.sum(gradients**2, -1)
    size = x.shape[1]
    system = np.zeros((len(x), size + 1, size + 1))
    polished = np.full(len(x), np.inf)
    for _ in range(6):
        values, gradients, curves = evaluate(steps, weights, offsets)
        curves = (weights * curves) * multipliers[..., None]
        hessian = (hidden_kernel * curves) @ hidden_kernel.swapaxes(1, 2)
        system[:, :size, :size] = np.eye(size) + hessian
        system[:, :size, size] = system[:, size, :size] = gradients[:, 0]
        residual = steps + multipliers[..., None] * gradients
        side = np.concatenate([residual[:, 0], values], axis=1)
        change = np.linalg.solve(system, -side[..., None])[..., 0]
        steps = steps + change[:, None, :size]
        multipliers = multipliers + change[:, size:]
        values, gradients, _ = evaluate(steps, weights, offsets)
        found = distances(steps, values, gradients, weights, offsets)
        polished = np.minimum(polished, found[:, 0])
    return np.minimum(best.min(axis=1), polished)
