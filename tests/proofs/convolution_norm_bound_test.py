import importlib
import math
from fractions import Fraction
from unittest import mock

import numpy as np
from absl.testing import parameterized

from keras_lip.proofs.convolution_norm_bound import convolution_norm_bound
from keras_lip.proofs.frequency_grid_bound import frequency_grid_bound
from keras_lip.proofs.frequency_grid_bound import num_grid_points
from keras_lip.proofs.kernel_gram_bound import kernel_gram_bound

# The explicit norms are themselves accurate to about 1e-15.
ACCURACY = 1e-12
# What the bound aims at, and a little more as the aim is approximate.
GENERAL_SLACK = 1.2e-3


def convolution_matrix(
    kernel, image, padding, strides=None, groups=1, dilation=None
):
    """Convolves every unit image, in plain loops."""
    *window, channels, filters = kernel.shape
    strides = strides or [1] * len(window)
    dilation = dilation or [1] * len(window)
    spans = [d * (size - 1) for d, size in zip(dilation, window, strict=True)]
    pixels = math.prod(image) * channels * groups
    inputs = np.eye(pixels).reshape(pixels, *image, channels * groups)
    pads = {
        "valid": [(0, 0) for _ in spans],
        "same": [(span // 2, span - span // 2) for span in spans],
        "full": [(span, span) for span in spans],
        "causal": [(span, 0) for span in spans],
        "circular": [(0, span) for span in spans],
    }[padding]
    mode = "wrap" if padding == "circular" else "constant"
    inputs = np.pad(inputs, [(0, 0), *pads, (0, 0)], mode=mode)
    sizes = [
        (size + sum(pad) - span - 1) // stride + 1
        for size, pad, span, stride in zip(
            image, pads, spans, strides, strict=True
        )
    ]
    outputs = np.zeros((pixels, *sizes, filters))
    share = filters // groups
    for tap in np.ndindex(*window):
        crop = tuple(
            slice(d * a, d * a + stride * (size - 1) + 1, stride)
            for d, a, stride, size in zip(
                dilation, tap, strides, sizes, strict=True
            )
        )
        seen = inputs[:, *crop]
        for group in range(groups):
            ins = slice(group * channels, (group + 1) * channels)
            outs = slice(group * share, (group + 1) * share)
            outputs[..., outs] += seen[..., ins] @ kernel[*tap][:, outs]
    return outputs.reshape(pixels, -1)


def norm(matrix):
    return float(np.linalg.norm(matrix, 2))


def supremum(kernel, points=240):
    """Largest singular value over a fine grid of frequencies."""
    *window, channels, filters = kernel.shape
    taps = kernel.reshape(-1, channels * filters)
    positions = np.indices(window).reshape(len(window), -1)
    # The other half of the frequencies is conjugate.
    shape = [points // 2 + 1] + [points] * (len(window) - 1)
    grid = np.indices(shape).reshape(len(window), -1).T
    waves = np.exp(2j * np.pi / points * (grid @ positions))
    symbols = (waves @ taps).reshape(-1, channels, filters)
    return float(np.max(np.linalg.svd(symbols, compute_uv=False)))


def compose(first, second):
    """Kernel of one 2-D convolution after another."""
    window = [
        a + b - 1
        for a, b in zip(first.shape[:2], second.shape[:2], strict=True)
    ]
    kernel = np.zeros((*window, first.shape[2], second.shape[3]))
    for i, j in np.ndindex(*first.shape[:2]):
        for k, m in np.ndindex(*second.shape[:2]):
            kernel[i + k, j + m] += first[i, j] @ second[k, m]
    return kernel


def orthogonal_kernel(rng, channels, filters, size):
    """Product of factors `P + (I - P) shift`, with `P` a projection."""
    dim = max(channels, filters)
    kernel = np.linalg.qr(rng.standard_normal((dim, dim)))[0][None, None]
    for axis in [0, 1] * (size - 1):
        basis = np.linalg.qr(rng.standard_normal((dim, dim // 2)))[0]
        projection = basis @ basis.T
        factor = np.stack([projection, np.eye(dim) - projection])
        kernel = compose(kernel, np.expand_dims(factor, 1 - axis))
    return kernel[:, :, :channels, :filters]


class ConvolutionNormBoundTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.rng = np.random.default_rng(0)

    def assert_above(self, bound, exact):
        self.assertGreaterEqual(bound, exact * (1 - ACCURACY))

    @parameterized.product(
        window=[1, 2, 3, 4, 5], channels=[(2, 4), (4, 2), (3, 3)]
    )
    def test_1d_bound_is_above_every_explicit_norm(self, window, channels):
        kernel = self.rng.standard_normal((window, *channels))
        bound = convolution_norm_bound(kernel)
        for padding in ("valid", "same", "full", "causal", "circular"):
            for size in (window, window + 1, 17):
                matrix = convolution_matrix(kernel, [size], padding)
                self.assert_above(bound, norm(matrix))
        self.assertLess(bound, supremum(kernel) * (1 + GENERAL_SLACK))

    @parameterized.product(
        window=[(1, 3), (2, 2), (3, 3), (4, 3)], channels=[(2, 4), (4, 2)]
    )
    def test_2d_bound_is_above_every_explicit_norm(self, window, channels):
        kernel = self.rng.standard_normal((*window, *channels))
        bound = convolution_norm_bound(kernel)
        for padding in ("valid", "same", "full", "circular"):
            for image in ([4, 3], [6, 5]):
                matrix = convolution_matrix(kernel, image, padding)
                self.assert_above(bound, norm(matrix))
        self.assertLess(bound, supremum(kernel) * (1 + GENERAL_SLACK))

    def test_circular_image_smaller_than_the_kernel(self):
        kernel = self.rng.standard_normal((5, 2, 2))
        bound = convolution_norm_bound(kernel)
        for size in (1, 2, 3):
            matrix = convolution_matrix(kernel, [size], "circular")
            self.assert_above(bound, norm(matrix))

    def test_3d_bound_is_above_the_explicit_norm(self):
        kernel = self.rng.standard_normal((2, 2, 2, 1, 2))
        bound = convolution_norm_bound(kernel)
        for padding in ("same", "circular"):
            matrix = convolution_matrix(kernel, [3, 4, 3], padding)
            self.assert_above(bound, norm(matrix))
        self.assertLess(bound, supremum(kernel, 30) * 1.01)

    def test_zero_padding_exceeds_the_circular_norm(self):
        kernel = np.array([1.0, 0.0, -1.0]).reshape(3, 1, 1)
        circular = norm(convolution_matrix(kernel, [6], "circular"))
        zero = norm(convolution_matrix(kernel, [6], "same"))
        self.assertAlmostEqual(circular, 3**0.5)
        self.assertGreater(zero, 1.8)
        bound = convolution_norm_bound(kernel)
        self.assertBetween(bound, 2.0, 2.0 * (1 + GENERAL_SLACK))

    @parameterized.product(
        window=[1, 2, 3, 4, 5],
        strides=[2, 3],
        padding=["valid", "same", "full", "circular"],
    )
    def test_strided_1d_bound_is_above_every_explicit_norm(
        self, window, strides, padding
    ):
        kernel = self.rng.standard_normal((window, 3, 2))
        bound = convolution_norm_bound(kernel, strides)
        for size in (6, 12, 24):
            matrix = convolution_matrix(kernel, [size], padding, [strides])
            self.assert_above(bound, norm(matrix))
        # The last image is large enough for its norm to be near the bound.
        self.assertLess(bound, norm(matrix) * 1.1)

    @parameterized.product(
        window=[(2, 2), (3, 3), (2, 3)],
        strides=[(2, 2), (1, 2), (3, 2)],
        padding=["valid", "same", "circular"],
    )
    def test_strided_2d_bound_is_above_every_explicit_norm(
        self, window, strides, padding
    ):
        kernel = self.rng.standard_normal((*window, 2, 3))
        bound = convolution_norm_bound(kernel, strides)
        matrix = convolution_matrix(kernel, [6, 6], padding, strides)
        self.assert_above(bound, norm(matrix))
        self.assertLess(bound, norm(matrix) * 1.3)

    @parameterized.parameters([(2, 2)], [(3, 1)], [(4, 4)])
    def test_without_overlap_the_bound_is_that_of_the_matrix(self, strides):
        kernel = self.rng.standard_normal((2, 1, 3, 4))
        exact = norm(kernel.reshape(6, 4))
        bound = convolution_norm_bound(kernel, strides)
        self.assertBetween(bound, exact * (1 - ACCURACY), exact * (1 + 1e-11))

    def test_circular_padding_off_the_strides_is_bounded_without_them(self):
        # The first pixel is seen twice, by the first window and the last.
        kernel = np.full((2, 1, 1), 0.5**0.5)
        matrix = convolution_matrix(kernel, [3], "circular", [2])
        self.assertGreater(norm(matrix), convolution_norm_bound(kernel, 2))
        self.assert_above(convolution_norm_bound(kernel), norm(matrix))

    @parameterized.product(
        strides=[1, 2, 4], dilation=[2, 3], padding=["same", "circular"]
    )
    def test_dilation_divides_the_strides(self, strides, dilation, padding):
        kernel = self.rng.standard_normal((3, 2, 2))
        bound = convolution_norm_bound(
            kernel, strides // math.gcd(strides, dilation)
        )
        matrix = convolution_matrix(
            kernel, [24], padding, [strides], dilation=[dilation]
        )
        self.assert_above(bound, norm(matrix))
        self.assertLess(bound, norm(matrix) * 1.1)

    @parameterized.product(groups=[1, 2, 4], strides=[1, 2])
    def test_norm_of_groups_is_their_largest(self, groups, strides):
        kernel = self.rng.standard_normal((3, 3, 2, 8))
        kernel[..., :2] *= 5
        bound = convolution_norm_bound(kernel, strides, groups)
        matrix = convolution_matrix(
            kernel, [4, 4], "same", [strides, strides], groups
        )
        self.assert_above(bound, norm(matrix))
        each = [
            convolution_norm_bound(part, strides)
            for part in np.split(kernel, groups, axis=-1)
        ]
        np.testing.assert_allclose(bound, max(each), rtol=GENERAL_SLACK)

    @parameterized.parameters((4, 4, 3), (8, 5, 3), (4, 8, 2), (6, 6, 5))
    def test_orthogonal_kernels_have_norm_one(self, channels, filters, size):
        kernel = orthogonal_kernel(self.rng, channels, filters, size)
        bound = convolution_norm_bound(kernel)
        self.assertBetween(bound, 1.0, 1 + 1e-9)
        single = convolution_norm_bound(kernel.astype(np.float32))
        self.assertBetween(single, 1 - 1e-6, 1 + 1e-6)

    def test_orthogonal_kernels_need_no_grid(self):
        kernel = orthogonal_kernel(self.rng, 4, 4, 3)
        module = importlib.import_module(convolution_norm_bound.__module__)
        with mock.patch.object(module, "frequency_grid_bound") as grid:
            convolution_norm_bound(kernel)
        grid.assert_not_called()

    @parameterized.parameters(1e-4, 1e-3, 1e-2, 1e-1)
    def test_nearly_orthogonal_kernels_are_bounded_tightly(self, noise):
        kernel = orthogonal_kernel(self.rng, 8, 6, 3)
        kernel += noise * self.rng.standard_normal(kernel.shape)
        bound = convolution_norm_bound(kernel)
        exact = supremum(kernel, 100)
        self.assertBetween(
            bound, exact * (1 - ACCURACY), exact * (1 + GENERAL_SLACK)
        )

    def test_almost_orthogonal_layers_are_bounded_by_one(self):
        kernel = self.rng.standard_normal((3, 3, 6, 4))
        matrix = convolution_matrix(kernel, [9, 9], "circular")
        gram = np.abs(matrix.T @ matrix)
        sums = np.sum(gram, axis=-1).reshape(9, 9, 4)[0, 0]
        # Rescaling would now be by one, hence the bound is one.
        kernel = kernel / np.sqrt(sums)
        _, upper = kernel_gram_bound(kernel[None])
        self.assertBetween(upper, 1 - ACCURACY, 1 + 1e-9)
        self.assertLess(convolution_norm_bound(kernel), 1 + 1e-9)

    @parameterized.parameters(1e-320, 1e-200, 1e200)
    def test_bound_holds_at_any_scale(self, scale):
        kernel = self.rng.standard_normal((3, 3, 2, 2)) * scale
        matrix = convolution_matrix(kernel / scale, [6, 6], "same")
        # Subnormal numbers have few digits.
        accuracy = 1e-2 if scale < 1e-300 else ACCURACY
        exact = supremum(kernel / scale) * scale
        bound = convolution_norm_bound(kernel)
        self.assert_above(bound, norm(matrix) * scale)
        self.assertBetween(
            bound, exact * (1 - accuracy), exact * (1.0012 + accuracy)
        )

    @parameterized.parameters(np.nan, np.inf)
    def test_unknown_entries_have_no_bound(self, entry):
        kernel = np.ones((3, 3, 2, 2))
        kernel[1, 1, 1, 1] = entry
        self.assertEqual(convolution_norm_bound(kernel), math.inf)

    @parameterized.parameters([(3, 2, 2)], [(0, 2, 2)], [(3, 3, 2, 0)])
    def test_empty_and_zero_kernels_have_norm_zero(self, shape):
        self.assertEqual(convolution_norm_bound(np.zeros(shape)), 0.0)

    def test_pruned_channels_do_no_harm(self):
        kernel = self.rng.standard_normal((3, 3, 4, 4))
        kernel[..., 1] = 0
        kernel[..., 2, :] = 0
        exact = supremum(kernel)
        bound = convolution_norm_bound(kernel)
        self.assertBetween(bound, exact, exact * (1 + GENERAL_SLACK))

    def test_shapes_that_are_not_kernels_are_refused(self):
        with self.assertRaisesRegex(ValueError, r"kernel.shape=\(3, 3\)"):
            convolution_norm_bound(np.zeros((3, 3)))
        with self.assertRaisesRegex(ValueError, "real.*complex128"):
            convolution_norm_bound(np.zeros((3, 1, 1), dtype=np.complex128))

    @parameterized.parameters(0, -1, 3)
    def test_groups_that_do_not_divide_the_filters_are_refused(self, groups):
        with self.assertRaisesRegex(ValueError, f"`groups`.*groups={groups}"):
            convolution_norm_bound(np.zeros((3, 2, 4)), groups=groups)

    @parameterized.parameters(0, [[2, 0]], [[1]], [[1, 1, 1]])
    def test_strides_that_do_not_fit_the_window_are_refused(self, strides):
        with self.assertRaisesRegex(ValueError, "`strides`.*2 axes"):
            convolution_norm_bound(np.zeros((3, 3, 2, 4)), strides)


class FrequencyGridBoundTest(parameterized.TestCase):
    @parameterized.product(points=[3, 5, 9, 33], offset=[1.0, 0.5, 0.0])
    def test_bound_is_exact_for_the_extremal_polynomials(self, points, offset):
        # `|offset - exp(iw)|^2` is largest at `w = pi`, which is farthest from
        # the points of an odd grid, and is a plain cosine.
        kernel = np.array([offset, -1.0]).reshape(1, 2, 1, 1)
        lower, exact = (1 - offset) ** 2, (1 + offset) ** 2
        bound = frequency_grid_bound(kernel, lower, points)
        self.assertBetween(bound, exact, exact * (1 + 1e-9))

    @parameterized.parameters(3, 5, 9)
    def test_bound_is_exact_for_their_products(self, points):
        line = np.array([1.0, -1.0])
        kernel = np.multiply.outer(line, line).reshape(1, 2, 2, 1, 1)
        bound = frequency_grid_bound(kernel, 0.0, points)
        self.assertBetween(bound, 16.0, 16.0 * (1 + 1e-9))

    def test_rounding_errors_of_the_gram_matrices_are_covered(self):
        # Seven squares are lost in any order of summation.
        kernel = np.array([1.0] + [2.0**-28] * 7).reshape(1, 1, 8, 1)
        exact = 1 + 7 * Fraction(1, 2**56)
        module = importlib.import_module(frequency_grid_bound.__module__)
        with mock.patch.object(
            module, "largest_eigenvalue_bound", return_value=1.0
        ):
            bound = frequency_grid_bound(kernel, 0.0, 1)
        self.assertGreaterEqual(Fraction(bound), exact)

    @parameterized.parameters(
        ((3, 3), 1e-3, 100),  # (pi / 2) sqrt(8 / 0.002) = 99.3
        ((3, 3), 10.0, 4),  # At least twice the degree.
        ((1, 1), 1e-3, 2),
        ((3, 3, 3), 1e-9, 41),  # At most 2**16 frequencies, or a few more.
    )
    def test_grid_is_as_fine_as_needed(self, window, slack, points):
        self.assertEqual(num_grid_points(window, slack), points)

    def test_a_grid_coarser_than_the_window_is_refused(self):
        kernel = np.ones((1, 3, 1, 1))
        with self.assertRaisesRegex(ValueError, "`points`.*points=2"):
            frequency_grid_bound(kernel, 0.0, 2)

    def test_all_the_chunks_of_frequencies_count(self):
        kernel = np.random.default_rng(0).standard_normal((2, 3, 3, 2, 2))
        whole = frequency_grid_bound(kernel, 0.0, 7)
        # `import_module`, as the package may export the function by this name.
        module = importlib.import_module("keras_lip.proofs.frequency_grams")
        with mock.patch.object(module, "ENTRIES_PER_CHUNK", 8):
            one_by_one = frequency_grid_bound(kernel, 0.0, 7)
        np.testing.assert_allclose(one_by_one, whole, rtol=1e-12)


class KernelGramBoundTest(parameterized.TestCase):
    @parameterized.parameters(
        [(1, 3, 3, 6, 4)], [(2, 3, 5, 5)], [(1, 2, 4, 3, 1)]
    )
    def test_eigenvalues_at_all_frequencies_are_enclosed(self, shape):
        rng = np.random.default_rng(0)
        *window, rows, columns = shape[1:]
        kernel = 0.005 * rng.standard_normal(shape)
        # Near the identity, so that the bound from below is positive.
        center = (slice(None), *(size // 2 for size in window))
        kernel[center] += np.eye(rows, columns) * np.linspace(1, 1.1, columns)
        lower, upper = kernel_gram_bound(kernel)
        self.assertGreater(lower, 0.0)
        positions = np.indices(window).reshape(len(window), -1)
        taps = kernel.reshape(shape[0], -1, rows * columns)
        angles = 2 * np.pi * rng.random((500, len(window)))
        symbols = np.exp(1j * (angles @ positions)) @ taps
        values = np.linalg.svd(
            symbols.reshape(-1, rows, columns), compute_uv=False
        )
        self.assertLess(lower, np.min(values) ** 2)
        self.assertGreater(upper, np.max(values) ** 2)

    def test_enclosure_is_exact_for_a_positive_kernel(self):
        kernel = np.random.default_rng(0).random((1, 3, 4, 4))
        _, upper = kernel_gram_bound(kernel)
        exact = norm(np.sum(kernel[0], axis=0))
        self.assertBetween(upper, exact**2, exact**2 * (1 + 1e-9))
        bound = convolution_norm_bound(kernel[0])
        self.assertBetween(bound, exact, exact * (1 + 1e-9))
