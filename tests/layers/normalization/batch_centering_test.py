import keras
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.program import freeze_layer
from tests.lipschitz_test_case import LipschitzTestCase


class BatchCenteringTest(LipschitzTestCase):
    @parameterized.parameters((-1, (5,), True), (1, (3, 2, 2), False))
    def test_contract(self, axis, shape, center):
        self.run_lipschitz_layer_test(
            layers.BatchCentering,
            init_kwargs={"momentum": 0.5, "axis": axis, "center": center},
            input_shape=shape,
            expected_output_shape=shape,
        )

    @parameterized.parameters((-1, (0, 1)), (1, (0, 2)))
    def test_mean_of_the_batch_is_subtracted_in_training(self, axis, axes):
        x = self.normal(8, 3, 4) + 2
        layer = layers.BatchCentering(0.75, axis)
        mean = x.mean(axis=axes, keepdims=True)
        self.assertAllClose(layer(x, training=True), x - mean)
        self.assertAllClose(layer.moving_mean, 0.25 * mean.reshape(-1))
        layer(x, training=True)
        self.assertAllClose(layer.moving_mean, 0.4375 * mean.reshape(-1))
        layer.beta.assign(layer.beta + 1.0)
        expected = x - 0.4375 * mean + 1
        self.assertAllClose(layer(x), expected)
        self.assertAllClose(layer(x, training=False), expected)

    def test_moving_mean_stays_outside_of_training(self):
        layer = layers.BatchCentering()
        x = self.normal(8, 3) + 2
        layer(x)
        layer(x, training=False)
        self.assertAllClose(layer.moving_mean, [0.0] * 3, 0, 0)
        layer.trainable = False
        self.assertAllClose(layer(x, training=True), x, 0, 0)
        self.assertAllClose(layer.moving_mean, [0.0] * 3, 0, 0)

    def test_moving_mean_approaches_that_of_the_data(self):
        layer = layers.BatchCentering(momentum=0.5)
        model = keras.Sequential([keras.Input((3,)), layer])
        model.compile("sgd", "mse")
        x = self.normal(8, 3) + 2
        model.fit(x, x, batch_size=8, epochs=24, verbose=0)
        # A half of the distance is left after each step.
        self.assertAllClose(layer.moving_mean, x.mean(axis=0), 1e-5)

    def test_bias_is_left_out(self):
        layer = layers.BatchCentering(center=False)
        layer.build((None, 3))
        self.assertEmpty(layer.trainable_weights)
        layer.moving_mean.assign([1.0, -2.0, 3.0])
        (step,) = freeze_layer(layer).steps
        self.assertAllClose(step.node.offset, [-1.0, 2.0, -3.0], 0, 0)
        x = self.normal(4, 3)
        self.assertAllClose(layer.to_keras_layer()(x), layer(x), 0, 0)

    def test_invalid_arguments_are_refused(self):
        for momentum in (-0.1, 1.1, None):
            with self.assertRaisesRegex(ValueError, "`momentum` must be"):
                layers.BatchCentering(momentum)
        with self.assertRaisesRegex(ValueError, "`axis` of layer"):
            layers.BatchCentering(axis=0)(self.normal(2, 3))
        with self.assertRaisesRegex(ValueError, "known number of channels"):
            layers.BatchCentering().build((None, None))

    def test_another_number_of_channels_is_refused(self):
        # A single mean would be subtracted from every channel.
        layer = layers.BatchCentering()
        layer(self.normal(2, 1))
        with self.assertRaisesRegex(ValueError, "expected axis -1"):
            layer(self.normal(2, 3))
