import math
from fractions import Fraction

import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip.autodiff import gradient
from tests.layers.pooling.pooling_test_case import PoolingTestCase
from tests.lipschitz_test_case import to_numpy


class L2NormPooling2DTest(PoolingTestCase):
    @parameterized.parameters(
        ({"pool_size": 2}, (4, 6, 3), (2, 3, 3)),
        ({"pool_size": (1, 3), "strides": 1}, (2, 6, 2), (2, 4, 2)),
        (
            {"pool_size": 3, "strides": 2, "padding": "same"},
            (4, 5, 1),
            (2, 3, 1),
        ),
        ({"data_format": "channels_first"}, (3, 4, 6), (3, 2, 3)),
    )
    def test_contract(self, init_kwargs, shape, expected_shape):
        self.run_lipschitz_layer_test(
            layers.L2NormPooling2D,
            init_kwargs=init_kwargs,
            input_shape=shape,
            expected_output_shape=expected_shape,
        )

    def test_norms_are_those_of_the_windows(self):
        x = self.normal(1, 4, 6, 1)
        outputs = layers.L2NormPooling2D((2, 3))(x)
        blocks = x.astype("float64").reshape(2, 2, 2, 3)
        expected = np.sqrt(np.square(blocks).sum(axis=(1, 3)))
        self.assertAllClose(outputs[0, ..., 0], expected)

    def test_norms_of_windows_that_overlap_are_divided(self):
        x = self.normal(1, 1, 6, 1)
        outputs = to_numpy(layers.L2NormPooling2D((1, 3), (1, 2))(x)).ravel()
        x = x.ravel().astype("float64")
        norms = [np.linalg.norm(x[:3]), np.linalg.norm(x[2:5])]
        self.assertAllClose(outputs, np.array(norms) / np.sqrt(2))

    @parameterized.parameters((2, 2), (3, 2), (3, 1), (5, 2))
    def test_bound_is_attained_by_a_pixel_in_most_windows(self, size, stride):
        layer = layers.L2NormPooling2D((1, size), (1, stride))
        norms = [
            np.linalg.norm(to_numpy(layer(pixel[np.newaxis])))
            for pixel in np.eye(12, dtype="float32").reshape(12, 1, 12, 1)
        ]
        self.assertAlmostEqual(max(norms), 1.0, delta=1e-6)
        bound = layer.lipschitz_bound()
        self.assertAlmostEqual(bound, 1.0, delta=1e-6)
        # The factor in float32, in exact arithmetic.
        windows = math.ceil(size / stride)
        factor = Fraction(float(np.float32(1 / np.sqrt(windows))))
        self.assertGreaterEqual(Fraction(bound) ** 2, factor**2 * windows)

    def test_bound_without_overlap_is_one(self):
        self.assertEqual(layers.L2NormPooling2D(3).lipschitz_bound(), 1.0)

    @parameterized.parameters(1.0, 1e-6, 1e-15)
    def test_gradient_norm_is_preserved(self, scale):
        x = ops.convert_to_tensor(self.normal(3, 2, 2, 1, scale=scale))
        norms = self.gradient_norms(layers.L2NormPooling2D(2), x)
        self.assertAllClose(norms, np.ones_like(norms), 1e-5)

    def test_gradient_at_zero_is_zero(self):
        x = np.zeros((1, 2, 4, 1), dtype="float32")
        x[0, 0, 0] = 2.0
        slopes = gradient(layers.L2NormPooling2D(2), ops.convert_to_tensor(x))
        self.assertAllClose(slopes, x / 2, 0, 0)

    def test_numbers_that_are_none_are_passed_on(self):
        x = np.full((1, 2, 2, 1), np.nan, dtype="float32")
        self.assertTrue(np.isnan(to_numpy(layers.L2NormPooling2D(2)(x))).all())

    def test_squares_of_half_precision_do_not_overflow(self):
        x = np.full((1, 2, 2, 1), 1024, dtype="float16")
        outputs = layers.L2NormPooling2D(2, dtype="float16")(x)
        self.assertAllClose(outputs, np.full((1, 1, 1, 1), 2048), 0, 0)
