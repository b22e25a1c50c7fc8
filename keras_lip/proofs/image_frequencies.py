"""Upper bound on the squared norm of a convolution of images of one size."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_lip.proofs.frequency_grams import FrequencyGrams
from keras_lip.proofs.frequency_grid_bound import bound_on_grid
from keras_lip.proofs.method_notes import note_method

# With more frequencies, a bound for images of any size is nearly as tight.
_MAX_FREQUENCIES = 2**12


@dataclasses.dataclass(frozen=True)
class ImageFrequencies:
    """The frequencies whose largest norm bounds a convolution.

    Along one axis, let output `o` be the sum of `K_t x_q` over all `t = q - o`
    in `[0, taps)`, where `q` runs over the `period` pixels of a ring. This
    convolution is a block circulant matrix. Its norm is the largest norm of
    `K(w) = sum_t K_t exp(i w t)` over the frequencies `w = 2 pi j / period`.

    Zero padding is a part of this matrix: an image on an arc of the ring, and
    the outputs that are kept. The arc must be so short that no tap reaches the
    image from the other side. Multiplying pixel `q` by `exp(i s q)` and output
    `o` by `exp(-i s o)` changes no norm, and turns the taps into `K_t exp(i s
    t)`. So the frequencies may be shifted by any `s`, whose largest norm bounds
    the same convolution. For the side `n` and a window of three pixels, the
    period is `n + 1`. Shifted by half a step, the frequencies closest to zero
    are `pi / (n + 1)`: those of the slowest waves that vanish at the border.

    Attributes:
        periods: Tuple of positive integers, one for each axis.
        circular: Boolean. Whether padding is circular, so that the frequencies
            cannot be shifted.
    """

    periods: tuple[int, ...]
    circular: bool

    @classmethod
    def of_image(
        cls,
        sides: Sequence[int],
        widths: Sequence[tuple[int, int]],
        window: Sequence[int],
        strides: Sequence[int],
        circular: bool,
    ) -> "ImageFrequencies | None":
        """Returns the frequencies for a convolution without dilation.

        Args:
            sides: Positive integers. The sides of the image.
            widths: Pairs of integers: numbers of pixels that are added before
                and after. With circular padding, they add up to at most the
                window minus the stride.
            window: Positive integers. The shape of the window.
            strides: Positive integers.
            circular: Boolean. Whether padding is circular.

        Returns:
            `None` if there are too many frequencies, or no output, or if the
            strides do not divide the sides of a circular image.
        """
        periods = [
            _period(*axis, circular)
            for axis in zip(sides, widths, window, strides, strict=True)
        ]
        if None in periods:
            return None
        found = tuple(int(period or 1) for period in periods)
        if math.prod(found) > _MAX_FREQUENCIES:
            return None
        return cls(found, circular)

    def bound(self, kernel: npt.NDArray[Any]) -> float:
        """Bounds the eigenvalues of `K(w)^H K(w)` at the frequencies.

        Of the shifts by half a step along each axis, the best one counts.

        Args:
            kernel: Float64 array of shape `(groups, *window, rows, columns)`,
                scaled to the order of one.

        Returns:
            Float. The largest bound over all groups.
        """
        note_method("image frequencies")
        grams = FrequencyGrams(kernel)
        window = kernel.shape[1:-2]
        periods = [
            period if size > 1 else 1
            for period, size in zip(self.periods, window, strict=True)
        ]
        halves = [(0,) if self.circular or n == 1 else (1, 0) for n in periods]
        best = math.inf
        for shifts in itertools.product(*halves):
            grid = [
                np.arange(shift, 2 * period, 2)
                for period, shift in zip(periods, shifts, strict=True)
            ]
            turns = 2 * np.array(periods)
            best = min(best, bound_on_grid(grams, grid, turns, best))
        return best


def _period(
    side: int,
    widths: tuple[int, int],
    span: int,
    stride: int,
    circular: bool,
) -> int | None:
    """Returns the period of one axis, in steps of the stride.

    Strides are channels: with `i = stride * q + r`, pixel `i` of the padded
    image is pixel `q` of phase `r`.
    """
    before, after = widths
    outputs = (side + before + after - span) // stride + 1
    if outputs < 1:
        return None
    if circular:
        return None if side % stride else side // stride
    taps = -(-span // stride)
    # An image pixel `q` and an output `o` are joined by tap `q - o`, in
    # `[first - outputs + 1, last]`, and must not be joined by a tap that
    # differs by a multiple of the period.
    first, last = before // stride, (before + side - 1) // stride
    return max(last + 1, outputs + taps - 1 - first)
