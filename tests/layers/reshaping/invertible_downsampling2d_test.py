import unittest

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class InvertibleDownsampling2DTest(LipschitzTestCase):
    @parameterized.parameters(
        (2, "channels_last", (4, 6, 3), (2, 3, 12)),
        ((1, 3), "channels_last", (2, 6, 2), (2, 2, 6)),
        (2, "channels_first", (3, 4, 6), (12, 2, 3)),
        ((3, 1), "channels_first", (2, 6, 2), (6, 2, 2)),
    )
    def test_contract(self, pool_size, data_format, shape, expected_shape):
        self.run_lipschitz_layer_test(
            layers.InvertibleDownsampling2D,
            init_kwargs={"pool_size": pool_size, "data_format": data_format},
            input_shape=shape,
            expected_output_shape=expected_shape,
        )

    @parameterized.parameters(2, 3, [(2, 3)], [(3, 1)])
    def test_channels_are_in_the_documented_order(self, pool_size):
        height, width = (
            pool_size if isinstance(pool_size, tuple) else (pool_size,) * 2
        )
        x = self.normal(2, 6, 12, 3)
        layer = layers.InvertibleDownsampling2D(pool_size)
        outputs = to_numpy(layer(x))
        for i in range(height):
            for j in range(width):
                for k in range(3):
                    channel = outputs[..., (i * width + j) * 3 + k]
                    expected = x[:, i::height, j::width, k]
                    self.assertAllClose(channel, expected, 0, 0)

    def test_data_formats_agree(self):
        x = self.normal(2, 4, 6, 3)
        last = layers.InvertibleDownsampling2D((2, 3))(x)
        first = layers.InvertibleDownsampling2D((2, 3), "channels_first")(
            np.moveaxis(x, -1, 1)
        )
        self.assertAllClose(np.moveaxis(to_numpy(first), 1, -1), last, 0, 0)

    @parameterized.parameters("channels_last", "channels_first")
    def test_distances_are_preserved(self, data_format):
        layer = layers.InvertibleDownsampling2D(2, data_format)
        x = self.normal(3, 4, 6, 2)
        outputs = to_numpy(layer(x))
        for sample, output in zip(x, outputs, strict=True):
            self.assertAllClose(
                np.sort(sample.ravel()), np.sort(output.ravel()), 0, 0
            )

    @parameterized.parameters("channels_last", "channels_first")
    def test_sides_may_be_unknown_until_it_runs(self, data_format):
        shape = [None, None, None]
        shape[2 if data_format == "channels_last" else 0] = 3
        inputs = keras.Input(shape)
        layer = layers.InvertibleDownsampling2D(2, data_format)
        model = keras.Model(inputs, layer(inputs))
        self.assertEqual(model.output_shape.count(12), 1)
        x = self.normal(2, 4, 6, 3)
        if data_format == "channels_first":
            x = np.moveaxis(x, -1, 1)
        self.assertAllClose(model.predict(x, verbose=0), layer(x), 0, 0)
        # The blocks of eight samples of odd sides could be filled all the same.
        x = self.normal(8, 3, 5, 3)
        if data_format == "channels_first":
            x = np.moveaxis(x, -1, 1)
        with self.assertRaisesRegex(ValueError, "must be multiples"):
            model(x)

    def test_sides_that_are_no_multiples_are_refused(self):
        layer = layers.InvertibleDownsampling2D((2, 3))
        with self.assertRaisesRegex(
            ValueError, r"must be multiples.*\(2, 6, 4, 1\).*pool_size=\(2, 3\)"
        ):
            layer(self.normal(2, 6, 4, 1))
        layer = layers.InvertibleDownsampling2D(2, "channels_first")
        with self.assertRaisesRegex(ValueError, "must be multiples"):
            layer(keras.Input((2, 3, 2)))

    @unittest.skipUnless(
        keras.backend.backend() == "tensorflow", "has sides unknown at run time"
    )
    def test_sides_unknown_in_a_graph_make_no_blocks_across_samples(self):
        import tensorflow as tf

        layer = layers.InvertibleDownsampling2D(2)
        signature = [tf.TensorSpec((None, None, None, 1))]
        function = tf.function(layer, input_signature=signature)
        x = self.normal(4, 6, 4, 1)
        self.assertAllClose(function(x), layer(x), 0, 0)
        with self.assertRaises(tf.errors.InvalidArgumentError):
            function(self.normal(4, 5, 4, 1))

    def test_invalid_arguments_are_refused(self):
        for pool_size in (0, 1.5, (2, 2, 2)):
            with self.assertRaisesRegex(ValueError, "`pool_size` must be"):
                layers.InvertibleDownsampling2D(pool_size)
        with self.assertRaisesRegex(ValueError, "Unknown data_format"):
            layers.InvertibleDownsampling2D(data_format="last")
        with self.assertRaisesRegex(ValueError, "expected ndim=4"):
            layers.InvertibleDownsampling2D()(self.normal(2, 4, 4))
