import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase


class InvertibleUpsampling2DTest(LipschitzTestCase):
    @parameterized.parameters(
        (2, "channels_last", (2, 3, 12), (4, 6, 3)),
        ((1, 3), "channels_last", (2, 2, 6), (2, 6, 2)),
        (2, "channels_first", (12, 2, 3), (3, 4, 6)),
        ((3, 1), "channels_first", (6, 2, 2), (2, 6, 2)),
    )
    def test_contract(self, pool_size, data_format, shape, expected_shape):
        self.run_lipschitz_layer_test(
            layers.InvertibleUpsampling2D,
            init_kwargs={"pool_size": pool_size, "data_format": data_format},
            input_shape=shape,
            expected_output_shape=expected_shape,
        )

    @parameterized.product(
        pool_size=(2, (2, 3), (3, 1)),
        data_format=("channels_last", "channels_first"),
    )
    def test_each_undoes_the_other(self, pool_size, data_format):
        x = self.normal(2, 12, 24, 36)
        for first, second in (
            (layers.InvertibleDownsampling2D, layers.InvertibleUpsampling2D),
            (layers.InvertibleUpsampling2D, layers.InvertibleDownsampling2D),
        ):
            moved = first(pool_size, data_format)(x)
            self.assertNotEqual(moved.shape, x.shape)
            restored = second(pool_size, data_format)(moved)
            self.assertAllClose(restored, x, 0, 0)

    def test_channels_are_read_in_the_documented_order(self):
        x = self.normal(2, 2, 3, 12)
        outputs = layers.InvertibleUpsampling2D((2, 3))(x)
        for i in range(2):
            for j in range(3):
                expected = x[..., (i * 3 + j) * 2 : (i * 3 + j) * 2 + 2]
                self.assertAllClose(outputs[:, i::2, j::3], expected, 0, 0)

    @parameterized.parameters("channels_last", "channels_first")
    def test_sides_may_be_unknown_until_it_runs(self, data_format):
        shape = [None, None, None]
        shape[2 if data_format == "channels_last" else 0] = 4
        inputs = keras.Input(shape)
        layer = layers.InvertibleUpsampling2D(2, data_format)
        model = keras.Model(inputs, layer(inputs))
        x = self.normal(2, 3, 5, 4)
        if data_format == "channels_first":
            x = np.moveaxis(x, -1, 1)
        self.assertAllClose(model.predict(x, verbose=0), layer(x), 0, 0)

    def test_channels_that_fill_no_blocks_are_refused(self):
        layer = layers.InvertibleUpsampling2D(2)
        with self.assertRaisesRegex(ValueError, "multiple of 4.*: 6 channels"):
            layer(self.normal(2, 4, 4, 6))
        with self.assertRaisesRegex(ValueError, "multiple of 4.*: None chan"):
            layers.InvertibleUpsampling2D(2)(keras.Input((4, 4, None)))

    def test_another_number_of_channels_is_refused(self):
        layer = layers.InvertibleUpsampling2D(2)
        layer(self.normal(2, 2, 2, 4))
        with self.assertRaisesRegex(ValueError, "expected axis 3"):
            layer(self.normal(2, 2, 2, 6))

    def test_invalid_arguments_are_refused(self):
        for pool_size in (0, 1.5, (2, 2, 2)):
            with self.assertRaisesRegex(ValueError, "`pool_size` must be"):
                layers.InvertibleUpsampling2D(pool_size)
        with self.assertRaisesRegex(ValueError, "Unknown data_format"):
            layers.InvertibleUpsampling2D(data_format="last")
