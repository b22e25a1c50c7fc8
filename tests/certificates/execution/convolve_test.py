import keras
from absl.testing import parameterized

from keras_lip.certificates.execution.convolve import convolve
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class ConvolveTest(LipschitzTestCase):
    @parameterized.parameters(
        dict(kernel_size=(3, 2), padding="same"),
        dict(kernel_size=(2, 3), padding="valid", groups=2),
        dict(kernel_size=(3, 4), padding="same", strides=2),
        dict(kernel_size=3, padding="same", dilation_rate=2),
    )
    def test_images_are_convolved_as_keras_does(self, **kwargs):
        self.check(keras.layers.Conv2D(4, **kwargs), 7, 6)

    @parameterized.parameters(
        dict(padding="causal", dilation_rate=2),
        dict(padding="valid", strides=3),
    )
    def test_sequences_are_convolved_as_keras_does(self, **kwargs):
        self.check(keras.layers.Conv1D(4, 3, **kwargs), 11)

    def check(self, layer, *sides):
        x = self.normal(2, *sides, 6)
        expected = to_numpy(layer(x))
        actual = convolve(
            x.astype("float64"),
            to_numpy(layer.kernel).astype("float64"),
            layer.strides,
            layer.dilation_rate,
            layer.groups,
            layer.padding,
        )
        self.assertEqual(actual.shape, expected.shape)
        self.assertAllClose(actual, expected, atol=1e-5)
