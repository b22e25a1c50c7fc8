from fractions import Fraction

import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from tests.layers.pooling.pooling_test_case import PoolingTestCase
from tests.lipschitz_test_case import to_numpy

# A matrix of float32 outputs has a norm that is off by this much.
ROUNDING = 1e-6


class ScaledAveragePooling2DTest(PoolingTestCase):
    @parameterized.parameters(
        ({"pool_size": 2}, (4, 6, 3), (2, 3, 3)),
        ({"pool_size": (1, 3), "strides": 1}, (2, 6, 2), (2, 4, 2)),
        (
            {"pool_size": 3, "strides": 2, "padding": "same"},
            (4, 5, 1),
            (2, 3, 1),
        ),
        ({"data_format": "channels_first"}, (3, 4, 6), (3, 2, 3)),
        (
            {
                "pool_size": 3,
                "padding": "same",
                "data_format": "channels_first",
            },
            (1, 4, 6),
            (1, 2, 2),
        ),
    )
    def test_contract(self, init_kwargs, shape, expected_shape):
        layer = layers.ScaledAveragePooling2D(**init_kwargs)
        # On images of a known size no more than their windows overlap.
        norm = self.matrix_norm(layer, *shape)
        self.assertLessEqual(norm, 1 + ROUNDING)
        self.run_lipschitz_layer_test(
            layers.ScaledAveragePooling2D,
            init_kwargs=init_kwargs,
            input_shape=shape,
            expected_output_shape=expected_shape,
            expected_bound=norm,
        )

    @parameterized.product(
        sizes=((3, 2), ((3, 2), (1, 4)), (2, 3)),
        padding=("valid", "same"),
    )
    def test_windows_are_those_of_a_convolution(self, sizes, padding):
        pool_size, strides = sizes
        layer = layers.ScaledAveragePooling2D(pool_size, strides, padding)
        x = self.normal(2, 7, 8, 1)
        kernel = np.ones((*np.broadcast_to(pool_size, 2), 1, 1), "float32")
        expected = to_numpy(ops.conv(x, kernel, strides, padding))
        outputs = to_numpy(layer(x))
        scale = outputs.flat[0] / expected.flat[0]
        self.assertAllClose(outputs, expected * scale, 1e-5, 1e-5)

    @parameterized.parameters(2, 3, [(1, 4)], [(3, 2)])
    def test_norm_is_one_where_windows_do_not_overlap(self, *pool_size):
        for data_format in ("channels_last", "channels_first"):
            layer = layers.ScaledAveragePooling2D(
                pool_size[0], data_format=data_format
            )
            shape = [6, 4, 1] if data_format == "channels_last" else [1, 6, 4]
            norm = self.matrix_norm(layer, *shape)
            self.assertAlmostEqual(norm, 1, delta=ROUNDING)

    def test_windows_are_summed_over_the_root_of_their_pixels(self):
        x = self.normal(1, 4, 6, 1)
        outputs = layers.ScaledAveragePooling2D((2, 3))(x)
        blocks = x.astype("float64").reshape(2, 2, 2, 3)
        expected = blocks.sum(axis=(1, 3)) / np.sqrt(6)
        self.assertAllClose(outputs[0, ..., 0], expected)

    @parameterized.product(
        sizes=((3, 2), (3, 1), (4, 3)), padding=("valid", "same")
    )
    def test_norm_with_overlap_is_approached_from_below(self, sizes, padding):
        size, stride = sizes
        layer = layers.ScaledAveragePooling2D((1, size), (1, stride), padding)
        norm = self.matrix_norm(layer, 1, 60, 1)
        self.assertLessEqual(norm, 1 + ROUNDING)
        self.assertGreater(norm, 0.98)

    def test_bound_is_of_the_factor_that_runs(self):
        for size in range(1, 12):
            # In float64, some backends round it to float32.
            for dtype, roundings in (
                ("float32", ["float32"]),
                ("float64", ["float32", "float64"]),
            ):
                layer = layers.ScaledAveragePooling2D((1, size), dtype=dtype)
                layer.build((None, 1, size, 1))
                bound = Fraction(layer.lipschitz_bound())
                for rounding in roundings:
                    number = np.dtype(rounding).type(1 / np.sqrt(size))
                    # The square of the norm, in exact arithmetic.
                    square = Fraction(float(number)) ** 2 * size
                    self.assertGreaterEqual(bound**2, square)
                self.assertLess(bound, 1 + 6e-8)
        bound = layers.ScaledAveragePooling2D(2).lipschitz_bound()
        self.assertBetween(bound, 1.0, 1 + 1e-15)

    def test_sums_of_half_precision_do_not_overflow(self):
        x = np.full((1, 4, 4, 1), 3e4, dtype="float16")
        layer = layers.ScaledAveragePooling2D((1, 4), 4, dtype="float16")
        self.assertAllClose(layer(x), np.full((1, 1, 1, 1), 6e4))

    @parameterized.parameters("channels_last", "channels_first")
    def test_sides_may_be_unknown_until_it_runs(self, data_format):
        shape = [None, None, None]
        shape[2 if data_format == "channels_last" else 0] = 3
        inputs = keras.Input(shape)
        layer = layers.ScaledAveragePooling2D(2, data_format=data_format)
        model = keras.Model(inputs, layer(inputs))
        x = self.normal(2, 5, 6, 3)
        if data_format == "channels_first":
            x = np.moveaxis(x, -1, 1)
        self.assertAllClose(model.predict(x, verbose=0), layer(x))

    def test_images_that_hold_no_window_are_refused(self):
        layer = layers.ScaledAveragePooling2D((2, 3))
        with self.assertRaisesRegex(ValueError, r"at least.*\(2, 3\)"):
            layer(self.normal(2, 4, 2, 1))
        layer = layers.ScaledAveragePooling2D(padding="same")
        with self.assertRaisesRegex(ValueError, "known sides"):
            layer(keras.Input((None, 4, 1)))

    def test_invalid_arguments_are_refused(self):
        for name in ("pool_size", "strides"):
            for value in (0, 1.5, (2, 2, 2)):
                with self.assertRaisesRegex(ValueError, f"`{name}` must be"):
                    layers.ScaledAveragePooling2D(**{name: value})
        with self.assertRaisesRegex(ValueError, "Unknown padding: 'full'"):
            layers.ScaledAveragePooling2D(padding="full")
        with self.assertRaisesRegex(ValueError, "Unknown data_format"):
            layers.ScaledAveragePooling2D(data_format="last")
