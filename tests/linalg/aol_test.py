import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.linalg import rescale_columns
from keras_lip.linalg import rescale_kernel
from keras_lip.proofs.convolution_norm_bound import convolution_norm_bound
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

_SHAPES = {"tall": (9, 4), "wide": (4, 9), "square": (6, 6), "column": (7, 1)}


class RescaleColumnsTest(LipschitzTestCase):
    @parameterized.product(
        shape=list(_SHAPES.values()), scale=[0.02, 1.0, 20.0, 1e-20, 1e20]
    )
    def test_norm_is_at_most_one(self, shape, scale):
        matrix = self.normal(*shape, scale=scale)
        rescaled = to_numpy(rescale_columns(ops.convert_to_tensor(matrix)))
        norm = self.singular_values(rescaled).max()
        self.assertLessEqual(norm, 1 + 1e-6)
        # Some of it is left.
        self.assertGreater(norm, 0.3)

    @parameterized.product(
        shape=list(_SHAPES.values()), scale=[0.02, 1.0, 20.0, 1e-20, 1e20]
    )
    def test_result_does_not_depend_on_the_scale(self, shape, scale):
        matrix = self.normal(*shape)
        expected = rescale_columns(ops.convert_to_tensor(matrix))
        matrix = (matrix.astype("float64") * scale).astype("float32")
        actual = rescale_columns(ops.convert_to_tensor(matrix))
        self.assertAllClose(actual, expected, 1e-6, 1e-5)

    def test_columns_are_divided_by_the_sums_of_the_gram_matrix(self):
        matrix = self.normal(5, 3)
        sums = np.abs(matrix.T @ matrix).sum(axis=1)
        self.assertAllClose(
            rescale_columns(ops.convert_to_tensor(matrix)),
            matrix / np.sqrt(sums),
            1e-5,
            1e-5,
        )

    @parameterized.named_parameters(("tall", 7, 3), ("square", 5, 5))
    def test_orthonormal_columns_stay(self, rows, columns):
        matrix = np.linalg.qr(self.normal(rows, columns))[0]
        rescaled = rescale_columns(ops.convert_to_tensor(matrix))
        self.assertAllClose(rescaled, matrix, 1e-5, 1e-5)

    def test_zero_matrix_stays_with_a_finite_gradient(self):
        matrix = ops.zeros((4, 3))
        self.assertAllClose(rescale_columns(matrix), matrix, 0, 0)
        slope = to_numpy(gradient(rescale_columns, matrix))
        # Finite with room for the loss that multiplies it.
        self.assertLess(np.abs(slope).max(), 1e10)

    @parameterized.named_parameters(
        ("zero_column", np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])),
        ("rank_one", np.outer([1.0, -2.0, 3.0], [1.0, 1.0, -1.0, 0.5])),
        ("equal_columns", np.ones((4, 6))),
        ("tiny_column", np.diag([1.0, 1e-12])),
    )
    def test_deficient_matrix_is_rescaled_with_a_finite_gradient(self, matrix):
        matrix = ops.convert_to_tensor(matrix, dtype="float32")
        norm = self.singular_values(rescale_columns(matrix)).max()
        self.assertLessEqual(norm, 1 + 1e-6)
        self.assertAlmostEqual(norm, 1.0, delta=1e-5)
        self.assertTrue(
            np.isfinite(to_numpy(gradient(rescale_columns, matrix))).all()
        )

    @parameterized.product(
        shape=list(_SHAPES.values()), scale=[0.02, 1.0, 20.0, 1e-5, 1e20]
    )
    def test_gradient_is_finite_and_scales_inversely(self, shape, scale):
        weights = self.normal(*shape)

        def function(matrix):
            return ops.sum(ops.multiply(rescale_columns(matrix), weights))

        matrix = self.normal(*shape)
        expected = to_numpy(gradient(function, ops.convert_to_tensor(matrix)))
        matrix = (matrix.astype("float64") * scale).astype("float32")
        actual = to_numpy(gradient(function, ops.convert_to_tensor(matrix)))
        actual = actual.astype("float64") * scale
        self.assertAllClose(actual, expected, 1e-4, 1e-4)

    def test_gradient_is_that_of_the_differences(self):
        weights, matrix = self.normal(4, 3), self.normal(4, 3)
        step = self.normal(4, 3)

        def function(t):
            return ops.sum(ops.multiply(rescale_columns(t), weights))

        def value(t):
            return float(to_numpy(function(ops.convert_to_tensor(t))))

        slope = to_numpy(gradient(function, ops.convert_to_tensor(matrix)))
        size = 1e-2
        change = value(matrix + size * step) - value(matrix - size * step)
        expected = change / (2 * size)
        # Central differences of this size are off by a percent at most.
        self.assertAlmostEqual(
            np.sum(slope * step), expected, delta=0.02 * abs(expected) + 1e-3
        )

    def test_matrices_of_a_batch_are_rescaled_apart(self):
        matrices = self.normal(2, 4, 3) * np.array([[[1.0]], [[1e6]]])
        matrices = matrices.astype("float32")
        rescaled = rescale_columns(ops.convert_to_tensor(matrices))
        for matrix, actual in zip(matrices, to_numpy(rescaled), strict=True):
            expected = rescale_columns(ops.convert_to_tensor(matrix))
            self.assertAllClose(actual, expected, 1e-6, 1e-5)


class KernelRescalingTest(LipschitzTestCase):
    @parameterized.product(
        shape=((3, 3, 2, 5), (3, 3, 5, 2), (4, 3, 2), (1, 2, 3, 3)),
        stride=(1, 2),
        scale=(1e-20, 1.0, 1e20),
    )
    def test_norm_is_at_most_one(self, shape, stride, scale):
        strides = (stride,) * (len(shape) - 2)
        kernel = self.normal(*shape, scale=scale)
        rescaled = rescale_kernel(ops.convert_to_tensor(kernel), strides)
        self.assertEqual(tuple(rescaled.shape), shape)
        bound = convolution_norm_bound(to_numpy(rescaled), strides)
        self.assertLessEqual(bound, 1 + 1e-5)
        self.assertGreater(bound, 0.4)

    def test_one_channel_of_many_filters_has_a_gradient(self):
        # Of one input channel, w / (sum of the moduli of its correlations)^1/2.
        kernel = np.array([1.0, 2.0], "float32").reshape(1, 1, 1, 2)
        rescaled = rescale_kernel(ops.convert_to_tensor(kernel), (1, 1))
        self.assertAllClose(rescaled, kernel / 5**0.5)
        slopes = gradient(
            lambda free: rescale_kernel(free, (1, 1))[..., 0],
            ops.convert_to_tensor(kernel),
        )
        # Of w1 / (w1^2 + w2^2)^1/2.
        self.assertAllClose(slopes[0, 0, 0], np.array([4.0, -2.0]) / 5**1.5)

    def test_output_channels_are_divided_as_in_theorem_2(self):
        # One channel and taps 1 and 2: the lags correlate to 2, 5 and 2.
        kernel = np.array([1.0, 2.0], "float32").reshape(2, 1, 1)
        rescaled = rescale_kernel(ops.convert_to_tensor(kernel), (1,))
        self.assertAllClose(rescaled, kernel / 3)

    def test_lags_that_strides_skip_do_not_count(self):
        # Windows that do not overlap: a single lag, of 5.
        kernel = np.array([1.0, 2.0], "float32").reshape(2, 1, 1)
        rescaled = rescale_kernel(ops.convert_to_tensor(kernel), (2,))
        self.assertAllClose(rescaled, kernel / 5**0.5)

    def test_groups_are_rescaled_on_their_own(self):
        for channels, filters in ((2, 6), (6, 4)):
            kernel = self.normal(3, 3, channels, filters)
            both = rescale_kernel(ops.convert_to_tensor(kernel), (1, 1), 2)
            for half in (slice(filters // 2), slice(filters // 2, None)):
                alone = ops.convert_to_tensor(kernel[..., half])
                self.assertAllClose(
                    to_numpy(both)[..., half], rescale_kernel(alone, (1, 1))
                )
