"""Gram matrices of a convolution at given frequencies."""

import math
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_lip.proofs.kernel_gram_bound import kernel_autocorrelation
from keras_lip.proofs.rounding import UNDERFLOW
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import frobenius_norm_up
from keras_lip.proofs.rounding import gamma
from keras_lip.proofs.rounding import inflate_up
from keras_lip.proofs.rounding import multiply_up

ENTRIES_PER_CHUNK = 2**20


class FrequencyGrams:
    """The matrices `K(w)^H K(w)` for the Fourier series `K` of a kernel.

    Args:
        kernel: Float64 array of shape `(groups, *window, rows, columns)`,
            scaled to the order of one.
    """

    def __init__(self, kernel: npt.NDArray[Any]) -> None:
        self.groups, *window, _, self.columns = kernel.shape
        correlation = kernel_autocorrelation(kernel)
        lags = correlation.shape[1:-2]
        self._taps = correlation.reshape(self.groups, -1, self.columns**2)
        self._offsets = np.indices(lags).reshape(len(lags), -1)
        self._offsets -= np.array(window)[:, None] - 1
        self.error = _gram_error_up(kernel, math.prod(lags))

    def at(
        self, frequencies: npt.NDArray[Any], points: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        """Returns the matrices, with a Frobenius error of at most `error`.

        Args:
            frequencies: Integer array of shape `(n, axes)`. Multiples of `2 pi
                / points` along each axis.
            points: Integer array of shape `(axes,)`.

        Returns:
            Complex array of shape `(groups, n, columns, columns)`.
        """
        # Exact multiples of a fraction of a turn, less than a turn, so that
        # `angles` is accurate.
        turn = math.lcm(*points.tolist())
        phases = frequencies * (turn // points) @ self._offsets % turn
        steps, places = np.arange(turn), phases
        if turn > phases.size:
            steps, places = np.unique(phases, return_inverse=True)
            places = places.reshape(phases.shape)
        angles = [2 * math.pi * step / turn for step in steps.tolist()]
        cosines = np.array([math.cos(angle) for angle in angles])
        sines = np.array([math.sin(angle) for angle in angles])
        shape = (self.groups, len(phases), self.columns, self.columns)
        grams = np.empty(shape, complex)
        grams.real = (cosines[places] @ self._taps).reshape(shape)
        grams.imag = (sines[places] @ self._taps).reshape(shape)
        return grams

    def in_chunks(
        self, frequencies: npt.NDArray[Any], points: npt.NDArray[Any]
    ) -> Iterator[npt.NDArray[Any]]:
        """Yields the result of `at` for one chunk of frequencies at a time."""
        # Number of entries per frequency, in the matrices or in the angles.
        entries = max(self.groups * self.columns**2, self._offsets.shape[1])
        chunk = max(1, ENTRIES_PER_CHUNK // entries)
        for start in range(0, len(frequencies), chunk):
            yield self.at(frequencies[start : start + chunk], points)

    def near(self, group: int, frequency: npt.NDArray[Any]) -> Any:
        """Returns the approximate matrix of a group at any frequency."""
        waves = np.exp(1j * (frequency @ self._offsets))
        return (waves @ self._taps[group]).reshape(self.columns, self.columns)

    def climb(
        self,
        group: int,
        vector: npt.NDArray[Any],
        frequency: npt.NDArray[Any],
        step: npt.NDArray[Any],
    ) -> Any:
        """Returns a nearby frequency at which `|K(w) vector|` is larger."""
        taps = self._taps[group].reshape(-1, self.columns, self.columns)
        weights = np.einsum("i,bi->b", vector.conj(), taps @ vector)
        axes = len(frequency)
        moves = np.indices([5] * axes).reshape(axes, -1).T / 2 - 1
        for _ in range(6):
            nearby = frequency + moves * step
            values = (np.exp(1j * (nearby @ self._offsets)) @ weights).real
            frequency = nearby[np.argmax(values)]
            step = step / 2
        return frequency


def one_of_each_pair(
    grid: Sequence[npt.NDArray[Any]], points: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Returns one frequency of each pair `w`, `-w` of a grid.

    A kernel is real, so its Gram matrices at `w` and `-w` are conjugate.

    Args:
        grid: An integer array for each axis, as in `FrequencyGrams.at`.
        points: Integer array of shape `(axes,)`.

    Returns:
        Integer array of shape `(n, axes)`.
    """
    axes = np.meshgrid(*grid, indexing="ij")
    frequencies = np.stack(axes).reshape(len(axes), -1)
    shape = tuple(points.tolist())
    index = np.ravel_multi_index(tuple(frequencies), shape)
    opposite = -frequencies % points[:, None]
    mirror = np.ravel_multi_index(tuple(opposite), shape)
    half: npt.NDArray[Any] = frequencies.T[index <= mirror]
    return half


def _gram_error_up(kernel: npt.NDArray[Any], lags: int) -> float:
    """Bounds the error of the Gram matrices in the Frobenius norm."""
    _, *window, rows, _ = kernel.shape
    taps = math.prod(window)
    moduli = np.sum(np.abs(kernel), axis=tuple(range(1, kernel.ndim - 2)))
    norm = inflate_up(frobenius_norm_up(moduli), taps)
    # All errors are relative to `moduli^T moduli`, for each entry. The
    # autocorrelation has an error of `gamma(taps * rows)`, the cosines of 32 u,
    # of which 20 u come from the angle, and the sum of `gamma(lags)`. The last
    # two add up to at most `gamma(lags + 32)` in each of the real and the
    # imaginary part, so to at most `2 * gamma(lags + 32)` in modulus.
    error = gamma(taps * rows + 2 * lags + 64)
    return add_up(multiply_up(error, norm, norm), UNDERFLOW)
