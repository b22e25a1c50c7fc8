from fractions import Fraction

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.bounds import lipschitz_bound
from tests.layers.pooling.pooling_test_case import PoolingTestCase


class GlobalScaledAveragePooling2DTest(PoolingTestCase):
    @parameterized.parameters(
        ("channels_last", False, (4, 3, 2), (2,)),
        ("channels_last", True, (4, 3, 2), (1, 1, 2)),
        ("channels_first", False, (2, 4, 3), (2,)),
        ("channels_first", True, (2, 4, 3), (2, 1, 1)),
    )
    def test_contract(self, data_format, keepdims, shape, expected_shape):
        self.run_lipschitz_layer_test(
            layers.GlobalScaledAveragePooling2D,
            init_kwargs={"data_format": data_format, "keepdims": keepdims},
            input_shape=shape,
            expected_output_shape=expected_shape,
        )

    @parameterized.parameters("channels_last", "channels_first")
    def test_sums_are_over_the_root_of_the_pixels(self, data_format):
        x = self.normal(2, 4, 3, 5)
        expected = x.astype("float64").sum(axis=(1, 2)) / np.sqrt(12)
        if data_format == "channels_first":
            x = np.moveaxis(x, -1, 1)
        outputs = layers.GlobalScaledAveragePooling2D(data_format)(x)
        self.assertAllClose(outputs, expected)

    @parameterized.parameters((2, 2), (3, 5), (1, 7))
    def test_norm_is_one(self, rows, columns):
        layer = layers.GlobalScaledAveragePooling2D()
        norm = self.matrix_norm(layer, rows, columns, 2)
        self.assertAlmostEqual(norm, 1.0, delta=1e-6)

    @parameterized.parameters(*range(1, 12))
    def test_bound_is_of_the_factor_that_runs(self, pixels):
        layer = layers.GlobalScaledAveragePooling2D()
        layer.build((None, 1, pixels, 1))
        bound = layer.lipschitz_bound()
        for dtype in ("float64", "float32"):
            factor = Fraction(float(np.dtype(dtype).type(1 / np.sqrt(pixels))))
            self.assertGreaterEqual(Fraction(bound) ** 2, factor**2 * pixels)
        self.assertLess(bound, 1 + 6e-8)

    def test_unknown_sides_have_no_bound(self):
        inputs = keras.Input((None, 4, 1))
        model = keras.Model(
            inputs, layers.GlobalScaledAveragePooling2D()(inputs)
        )
        x = self.normal(2, 3, 4, 1)
        expected = x.sum(axis=(1, 2)) / np.sqrt(12)
        self.assertAllClose(model(x), expected)
        with self.assertRaisesRegex(ValueError, "pixels, which must be known"):
            lipschitz_bound(model)

    def test_images_of_another_size_are_divided_by_their_own(self):
        layer = layers.GlobalScaledAveragePooling2D()
        for side in (3, 4):
            x = self.normal(2, 4, side, 1)
            expected = x.sum(axis=(1, 2)) / np.sqrt(4 * side)
            self.assertAllClose(layer(x), expected)
