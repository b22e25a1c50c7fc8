"""Upper bound on the squared norm of a convolution, by frequency cells."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_lip.proofs.frequency_grams import FrequencyGrams
from keras_lip.proofs.frequency_grams import one_of_each_pair
from keras_lip.proofs.matrix_norms import are_bounded
from keras_lip.proofs.matrix_norms import largest_eigenvalue_bound
from keras_lip.proofs.matrix_norms import leading_pair
from keras_lip.proofs.method_notes import note_method
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import divide_up
from keras_lip.proofs.rounding import multiply_up

_MAX_FREQUENCIES = 2**16
# Number of steps of the coarsest cells in a quarter of a period of the
# polynomials.
_FEWEST_STEPS = 6
# Fraction of the slack that is reserved for an estimate that is too low.
_RESERVE = 0.1


def frequency_cell_bound(
    kernel: npt.NDArray[Any], lower: float, slack: float
) -> float:
    """Bounds the eigenvalues of `K(w)^H K(w)` from above, for all frequencies.

    For a fixed vector `u` of norm one, `p(w) = |K(w) u|^2` is a trigonometric
    polynomial of degree `d_j = size_j - 1` along axis `j`. Let `M` be the
    largest eigenvalue over all frequencies, choose `u` so that `p` reaches `M`
    at some `w`, and let `m` be a lower bound on all eigenvalues, so that `m <=
    p <= M`. Along a straight line through `w`, `p` is a sum of waves with
    frequencies between `-r` and `r`, where `r |t| = sum_j d_j |t_j|` for a step
    `t`. If the slopes of the line are rational, `p` is a trigonometric
    polynomial of degree `r` after a suitable scaling of the line. Then a lemma
    of M. Riesz applies: as long as `r |t|` is at most `pi`, `p` is nowhere
    below the cosine of this degree between `m` and `M`, `p(w + t) >= m + (M -
    m) cos(r |t| / 2)^2`. (Otherwise the difference of the two, which has a
    double zero at `w`, would have more than `2 r` zeros in a period.) Every
    other line is a limit of such lines, so the inequality holds for every `t`.

    Cover the frequencies by cells. A cell consists of the points whose step `t`
    from the center of the cell has `r |t| <= s`, with `s <= pi`. If the
    eigenvalues at each center are at most `m + (T - m) cos(s / 2)^2`, then `M
    <= T`. Otherwise the cell that contains `w` would contradict the inequality
    above. For each cell, one factorization proves this condition. If it fails,
    the cell is split. Most cells are proven while they are still large.

    Args:
        kernel: Float64 array of shape `(groups, *window, rows, columns)`,
            scaled to the order of one, with more than one tap along one or two
            axes.
        lower: Float. Lower bound on all eigenvalues, at least zero.
        slack: Float. Targeted relative excess of the bound on the norm, for
            `lower=0`. The target is missed if it needs too many frequencies.

    Returns:
        Float. The largest bound over all groups.

    Reference:

    - Riesz, 1914, "Eine trigonometrische Interpolationsformel und einige
      Ungleichungen fuer Polynome", Jahresbericht der DMV 23, pages 354-368.
    """
    groups, *window, rows, columns = kernel.shape
    window = [size for size in window if size > 1]
    if not 1 <= len(window) <= 2:
        raise ValueError(
            "`kernel` must have more than one tap along one or two axes. "
            f"Received: kernel.shape={kernel.shape}"
        )
    degrees = np.array(window) - 1
    grams = FrequencyGrams(kernel.reshape(groups, *window, rows, columns))
    steps, levels = _plan(slack)
    # In the grid of `2 * steps * degrees` points, one point in four is a
    # center.
    affordable = 4 * _MAX_FREQUENCIES / math.prod(degrees.tolist())
    affordable = math.floor(affordable ** (1 / len(window)) / 2)
    steps = min(steps, max(4, affordable))
    cells = _coarsest_cells(2 * steps * degrees)
    try:
        estimate = _estimate_largest(grams, cells, 2 * steps * degrees)
    except np.linalg.LinAlgError:
        estimate = 0.0
    # The proof is sound for any target.
    excess = max(estimate - lower, 2.0**-20 * estimate) * (1 + 2 * slack)
    bound = add_up(lower, excess)
    for level in range(levels + 1):
        points = 2 * steps * degrees * 2**level
        # The cosine is accurate to a few units of 2**-53.
        cosine = math.cos(math.pi / (2 * steps * 2**level)) - 2.0**-48
        target = _add_down(
            lower, _multiply_down(_add_down(bound, -lower), cosine, cosine)
        )
        target = _add_down(target, -grams.error)
        if level == levels or 4 * len(cells) > _MAX_FREQUENCIES:
            for part in grams.in_chunks(cells, points):
                target = max(target, largest_eigenvalue_bound(part, target))
            excess = add_up(target, grams.error, -lower)
            factor = divide_up(1.0, cosine)
            excess = multiply_up(max(excess, 0.0), factor, factor)
            bound = max(bound, add_up(lower, excess))
            break
        proven = [
            np.all(are_bounded(part, target), axis=0)
            for part in grams.in_chunks(cells, points)
        ]
        cells = _split(cells[~np.concatenate(proven)])
        if not len(cells):
            break
    note_method("frequency cells")
    return bound


def _plan(slack: float) -> tuple[int, int]:
    """Returns the steps of the coarsest cells and the number of halvings."""
    # For the finest cells, `1 / cos(pi / (2 steps))^2` is about `1 + 2 *
    # slack`.
    finest = math.pi / 2 / math.sqrt(2 * slack * (1 - _RESERVE))
    levels = max(0, math.floor(math.log2(finest / _FEWEST_STEPS)))
    return max(2, math.ceil(finest / 2**levels)), levels


# The points of a cell are within one step of its center, measured by the sum of
# the distances along the axes. For the coarsest cells, the sum of the
# coordinates of each center is even: adjacent intervals or diamonds that cover
# all points. A cell is covered by `2 * axes` cells of half the size. Their
# centers are half a step from its own center along an axis.


def _coarsest_cells(points: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns the centers, one for each pair `w`, `-w`."""
    centers = one_of_each_pair([np.arange(n) for n in points], points)
    cells: npt.NDArray[Any] = centers[np.sum(centers, axis=1) % 2 == 0]
    return cells


def _split(cells: npt.NDArray[Any]) -> npt.NDArray[Any]:
    axes = np.eye(cells.shape[-1], dtype=cells.dtype)
    moves = np.concatenate([axes, -axes])
    return (2 * cells[:, None] + moves).reshape(-1, cells.shape[-1])


_STARTS = 4
_CLIMBS = 5
_SMALL = 64


def _estimate_largest(
    grams: FrequencyGrams, cells: npt.NDArray[Any], points: npt.NDArray[Any]
) -> float:
    """Computes a cheap estimate of the largest eigenvalue."""
    start = np.random.default_rng(0).standard_normal((grams.columns,))
    parts = [
        _estimate_each(part, start) for part in grams.in_chunks(cells, points)
    ]
    values = np.concatenate(parts, axis=1)
    estimate = float(np.max(values))
    for place in np.argsort(-values, axis=None)[:_STARTS]:
        group, cell = divmod(int(place), len(cells))
        step = 2 * np.pi / points
        frequency = cells[cell] * step
        vector = start
        for _ in range(_CLIMBS):
            gram = grams.near(group, frequency)
            value, vector = leading_pair(gram, vector, steps=30)
            estimate = max(estimate, value)
            frequency = grams.climb(group, vector, frequency, step)
    return estimate


def _estimate_each(
    grams: npt.NDArray[Any], start: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    if len(start) <= _SMALL:
        return np.linalg.eigvalsh(grams)[..., -1]
    values = [
        leading_pair(gram, start, steps=10)[0]
        for gram in grams.reshape(-1, *grams.shape[-2:])
    ]
    return np.array(values).reshape(grams.shape[:-2])


def _add_down(*terms: float) -> float:
    return -add_up(*(-term for term in terms))


def _multiply_down(*factors: float) -> float:
    return -multiply_up(-1.0, *factors)
