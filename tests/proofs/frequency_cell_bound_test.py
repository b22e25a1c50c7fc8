import importlib
import math
import types
from unittest import mock

import mpmath
import numpy as np
from absl.testing import parameterized

from keras_lip.proofs.convolution_norm_bound import convolution_norm_bound
from keras_lip.proofs.frequency_cell_bound import frequency_cell_bound
from keras_lip.proofs.kernel_gram_bound import kernel_gram_bound

# `import_module`, as the package may export the function by this name.
MODULE = importlib.import_module("keras_lip.proofs.frequency_cell_bound")
GRAMS = importlib.import_module("keras_lip.proofs.frequency_grams")
SLACK = 1e-3


def peaked_kernel(window, angles):
    """A sum of turns by given angles, whose norm is the number of taps.

    The series is `sum_a exp(i a (w - angles))` and its conjugate, with its only
    peaks at `angles` and `-angles`.
    """
    kernel = np.zeros((1, *window, 2, 2))
    for tap in np.ndindex(*window):
        turn = np.dot(tap, angles)
        cosine, sine = math.cos(turn), math.sin(turn)
        kernel[0, *tap] = [[cosine, -sine], [sine, cosine]]
    return kernel


def estimate_of(value):
    return mock.patch.object(
        MODULE, "_estimate_largest", lambda *args: float(value)
    )


class FrequencyCellBoundTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.rng = np.random.default_rng(0)

    def assert_bound(self, bound, exact, slack=SLACK):
        self.assertBetween(
            bound, exact * (1 - 1e-13), exact * (1 + 2.1 * slack)
        )

    @parameterized.parameters([(2,)], [(5,)], [(2, 2)], [(3, 3)], [(2, 4)])
    def test_no_peak_slips_through_the_cells(self, window):
        exact = math.prod(window) ** 2
        for _ in range(8):
            angles = 2 * np.pi * self.rng.random(len(window))
            kernel = peaked_kernel(window, angles)
            self.assert_bound(frequency_cell_bound(kernel, 0.0, SLACK), exact)

    @parameterized.product(
        window=[(2,), (3, 3)],
        factor=[0.0, 0.5, 0.9, 0.9985, 0.9999, 1.0, 1.1, 1e3, math.nan],
    )
    def test_a_wrong_estimate_never_gives_a_low_bound(self, window, factor):
        exact = math.prod(window) ** 2
        steps, levels = MODULE._plan(SLACK)
        finest = 2 * steps * (np.array(window) - 1) * 2**levels
        for offset in (0.5, 0.25, 0.0):
            # Between the centers of the finest cells.
            angles = 2 * np.pi * (7 + offset) / finest
            kernel = peaked_kernel(window, angles)
            with estimate_of(factor * exact):
                bound = frequency_cell_bound(kernel, 0.0, SLACK)
            self.assertGreaterEqual(bound, exact * (1 - 1e-13))
            if factor <= 1:
                self.assert_bound(bound, exact)

    @parameterized.product(offset=[1.0, 0.5, 0.0], slack=[1e-4, 1e-2, 0.3])
    def test_plain_cosines_use_up_the_inequality(self, offset, slack):
        kernel = np.array([offset, -1.0]).reshape(1, 2, 1, 1)
        lower, exact = (1 - offset) ** 2, (1 + offset) ** 2
        # The peak at `pi` is moved to where two cells meet.
        for estimate in (0.0, exact):
            with estimate_of(estimate):
                bound = frequency_cell_bound(kernel, lower, slack)
            self.assert_bound(bound, exact, slack)

    @parameterized.parameters(0.0, 0.5, 1.0)
    def test_a_cell_is_proven_of_all_groups(self, factor):
        peaked = peaked_kernel((3, 3), [1.0, 2.0])
        for kernels in ([peaked, peaked / 3], [peaked / 3, peaked]):
            with estimate_of(factor * 81):
                bound = frequency_cell_bound(
                    np.concatenate(kernels), 0.0, SLACK
                )
            self.assert_bound(bound, 81.0)

    def test_a_low_estimate_of_a_single_channel(self):
        # A Gram matrix of one entry, whose imaginary part is but rounding.
        kernel = np.array([0.3, -1.1, 0.7]).reshape(1, 3, 1, 1)
        for factor in (0.0, 0.97, 0.99):
            with estimate_of(factor * 2.1**2):
                bound = frequency_cell_bound(kernel, 0.0, 5e-3)
            self.assert_bound(bound, 2.1**2, 5e-3)

    def test_large_windows_take_few_cells_and_little_memory(self):
        kernel = self.rng.standard_normal((1, 21, 21, 1, 1)) / 21
        symbols = np.fft.fft2(kernel[0, ..., 0, 0], (400, 400))
        at = MODULE.FrequencyGrams.at
        sizes = []

        def noted(grams, frequencies, points):
            sizes.append(len(frequencies))
            return at(grams, frequencies, points)

        with (
            mock.patch.object(MODULE, "_MAX_FREQUENCIES", 2**13),
            mock.patch.object(MODULE.FrequencyGrams, "at", noted),
        ):
            bound = frequency_cell_bound(kernel, 0.0, SLACK)
        exact = np.max(np.abs(symbols)) ** 2
        self.assertBetween(bound, exact, 1.2 * exact)
        # Two rounds, of an estimate and of a proof.
        self.assertLess(sum(sizes), 2 * 2**13)
        # Of each frequency there are `41**2` angles.
        self.assertLessEqual(max(sizes) * 41**2, 2**20)

    @parameterized.product(window=[(3,), (2, 3)], estimate=[0.0, 1.0])
    def test_matrices_may_be_off_by_their_error(self, window, estimate):
        kernel = peaked_kernel(window, [1.0, 2.0][: len(window)])
        exact = math.prod(window) ** 2
        error = 0.1 * exact
        at = MODULE.FrequencyGrams.at

        def off(grams, frequencies, points):
            return at(grams, frequencies, points) - error * np.eye(2)

        with (
            mock.patch.object(GRAMS, "_gram_error_up", lambda *_: error),
            mock.patch.object(MODULE.FrequencyGrams, "at", off),
            estimate_of(estimate * exact),
        ):
            bound = frequency_cell_bound(kernel, 0.0, SLACK)
        # The cells with a larger eigenvalue cannot be proven of the estimate.
        self.assertBetween(bound, exact * (1 - 1e-13), 1.3 * exact)

    @parameterized.product(window=[(2,), (3, 3)], lower=[0.0, 0.3])
    def test_targets_are_rounded_down(self, window, lower):
        kernel = peaked_kernel(window, [0.1, 0.2][: len(window)])
        error = MODULE.FrequencyGrams(kernel).error
        # A cosine may be off by a few units in the last place.
        inexact = types.SimpleNamespace(**vars(math))
        inexact.cos = lambda angle: math.cos(angle) + 2.0**-50
        for slack in np.geomspace(1e-4, 0.1, 12):
            steps, _ = MODULE._plan(slack)
            proven = mock.Mock(wraps=MODULE.are_bounded)
            with (
                # So high that all is proven with the coarsest cells.
                estimate_of(1.5 * math.prod(window) ** 2),
                mock.patch.object(MODULE, "are_bounded", proven),
                mock.patch.object(MODULE, "math", inexact),
            ):
                bound = frequency_cell_bound(kernel, lower, slack)
            with mpmath.workdps(40):
                cosine = mpmath.cos(mpmath.pi / (2 * steps))
                excess = (mpmath.mpf(bound) - lower) * cosine**2
                for call in proven.call_args_list:
                    target = mpmath.mpf(call.args[1]) + error
                    self.assertLessEqual(target, lower + excess)

    def test_all_the_roundings_are_in_the_error(self):
        # Three taps in five lags, whose moduli add up to three. One product
        # for a row, and 32 roundings for a cosine and as many for a sine.
        error = MODULE.FrequencyGrams(np.ones((1, 3, 1, 1))).error
        exact = 2.0**-53 * (3 * 1 + 2 * 5 + 2 * 32) * 3.0**2
        self.assertBetween(error, exact, 1.01 * exact)

    def test_windows_without_a_common_period(self):
        # There are fewer phases than steps in a turn.
        kernel = peaked_kernel((6, 8), [1.0, 2.0]) / 8
        grams = MODULE.FrequencyGrams(kernel)
        places, points = np.array([[3, 5]]), np.array([1009, 1013])
        angles = 2 * np.pi * places[0] / points
        exact = grams.near(0, angles)
        np.testing.assert_allclose(
            grams.at(places, points)[0, 0], exact, atol=1e-12
        )

    def test_many_equal_peaks(self):
        # `|1 - exp(i w)|^2` at multiples of `w`.
        for gap in (2, 5, 9):
            kernel = np.zeros((1, gap + 1, 1, 1))
            kernel[0, [0, gap], 0, 0] = [1.0, -1.0]
            self.assert_bound(frequency_cell_bound(kernel, 0.0, SLACK), 4.0)

    def test_flat_spectra(self):
        # A shift, of all eigenvalues one at all frequencies, and a channel of
        # zeros, so that there is no bound from below.
        kernel = np.zeros((1, 3, 3, 4, 4))
        kernel[0, 0, 2] = np.diag([1.0, 1.0, 1.0, 0.0])
        self.assert_bound(frequency_cell_bound(kernel, 0.0, SLACK), 1.0)

    def test_rank_one(self):
        left, right = self.rng.standard_normal((2, 20))
        kernel = peaked_kernel((3, 3), [1.0, 2.0])
        kernel = np.kron(kernel, np.outer(left, right))
        exact = 81 * np.dot(left, left) * np.dot(right, right)
        scale = 2.0 ** -math.ceil(math.log2(np.max(np.abs(kernel))))
        bound = frequency_cell_bound(kernel * scale, 0.0, SLACK)
        self.assert_bound(bound, exact * scale**2)

    @parameterized.parameters(1e-150, 1e150)
    def test_scales(self, scale):
        kernel = peaked_kernel((3, 3), [1.0, 2.0])[0] * scale
        bound = convolution_norm_bound(kernel)
        self.assertBetween(bound / scale, 9 - 1e-12, 9 * (1 + 1.1 * SLACK))

    @parameterized.parameters([(2, 3, 3, 5, 5)], [(1, 4, 70, 70)])
    def test_random_kernels(self, shape):
        kernel = self.rng.uniform(-1, 1, shape)
        axes = tuple(range(1, len(shape) - 2))
        symbols = np.fft.fftn(kernel, [200] * len(axes), axes)
        if shape[-1] > 20:
            exact = max(np.linalg.norm(s, 2) for s in symbols[0]) ** 2
        else:
            exact = np.linalg.norm(symbols, 2, axis=(-2, -1)).max() ** 2
        lower, _ = kernel_gram_bound(kernel)
        self.assert_bound(frequency_cell_bound(kernel, lower, SLACK), exact)

    def test_most_cells_are_done_while_they_are_large(self):
        kernel = self.rng.uniform(-1, 1, (1, 3, 3, 8, 8))
        with mock.patch.object(
            MODULE, "are_bounded", wraps=MODULE.are_bounded
        ) as proofs:
            frequency_cell_bound(kernel, 0.0, SLACK)
        count = sum(len(call.args[0][0]) for call in proofs.call_args_list)
        # A uniform grid takes 4901.
        self.assertLess(count, 800)

    def test_too_many_cells_cost_tightness_only(self):
        kernel = peaked_kernel((3, 3), [1.0, 2.0])
        with mock.patch.object(MODULE, "_MAX_FREQUENCIES", 10):
            with estimate_of(0.0):
                bound = frequency_cell_bound(kernel, 0.0, SLACK)
        self.assertBetween(bound, 81 * (1 - 1e-13), 81 * 1.2)

    def test_a_failure_of_lapack_leaves_no_bound(self):
        error = np.linalg.LinAlgError("did not converge")
        kernel = peaked_kernel((3,), [1.0])
        with (
            mock.patch.object(np.linalg, "eigvalsh", side_effect=error),
            mock.patch.object(np.linalg, "cholesky", side_effect=error),
        ):
            bound = frequency_cell_bound(kernel, 0.0, SLACK)
        self.assertEqual(bound, math.inf)

    def test_three_axes_are_refused(self):
        with self.assertRaisesRegex(ValueError, "one or two axes"):
            frequency_cell_bound(np.ones((1, 2, 2, 2, 1, 1)), 0.0, SLACK)

    def test_pixels_of_extent_one_are_no_axis(self):
        kernel = peaked_kernel((3,), [1.0])
        wide = kernel.reshape(1, 1, 3, 1, 2, 2)
        self.assert_bound(frequency_cell_bound(wide, 0.0, SLACK), 9.0)

    @parameterized.parameters([(1,)], [(2,)], [(1, 1)], [(2, 3)])
    def test_cells_cover_all_frequencies(self, degrees):
        points = 12 * np.array(degrees)
        cells = MODULE._coarsest_cells(points)
        random = self.rng.random((500, len(degrees)))
        for _ in range(3):
            both = np.concatenate([cells, -cells])
            gaps = (random * points)[:, None] - both
            gaps = np.abs((gaps + points / 2) % points - points / 2)
            nearest = np.min(np.sum(gaps, axis=-1), axis=-1)
            self.assertLessEqual(np.max(nearest), 1 + 1e-9)
            cells, points = MODULE._split(cells), 2 * points
