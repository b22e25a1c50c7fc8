import keras
import numpy as np
from absl.testing import parameterized

from keras_lip.program.nodes.host_convolution import convolve
from keras_lip.program.nodes.host_convolution import pad_width
from keras_lip.program.nodes.host_convolution import transpose_convolve
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
        widths = [
            pad_width(side, (taps - 1) * rate + 1, stride, layer.padding)
            for side, taps, rate, stride in zip(
                sides,
                layer.kernel_size,
                layer.dilation_rate,
                layer.strides,
                strict=True,
            )
        ]
        actual = convolve(
            np.pad(x.astype("float64"), [(0, 0), *widths, (0, 0)]),
            to_numpy(layer.kernel).astype("float64"),
            layer.strides,
            layer.dilation_rate,
            layer.groups,
        )
        self.assertEqual(actual.shape, expected.shape)
        self.assertAllClose(actual, expected, atol=1e-5)


class TransposeConvolveTest(LipschitzTestCase):
    @parameterized.parameters(
        dict(window=(3, 2), sides=(7, 6)),
        dict(window=(2, 3), sides=(7, 8), groups=2),
        dict(window=(3, 4), sides=(8, 7), strides=(2, 3)),
        dict(window=(3,), sides=(11,), dilation_rate=(2,)),
        # Pixels at the end that no window meets, and ones between.
        dict(window=(2,), sides=(9,), strides=(3,)),
        dict(window=(2, 2), sides=(9, 9), strides=(2, 3), dilation_rate=(3, 2)),
    )
    def test_it_is_the_adjoint(
        self, window, sides, strides=None, dilation_rate=None, groups=1
    ):
        strides = strides or (1,) * len(window)
        dilation_rate = dilation_rate or (1,) * len(window)
        x = self.rng.normal(size=(3, *sides, 6))
        kernel = self.rng.normal(size=(*window, 6 // groups, 4))
        there = convolve(x, kernel, strides, dilation_rate, groups)
        y = self.rng.normal(size=there.shape)
        back = transpose_convolve(
            y, kernel, strides, dilation_rate, groups, sides
        )
        self.assertEqual(back.shape, x.shape)
        axes = (1, 2, 3)[: x.ndim - 1]
        self.assertAllClose(
            np.sum(there * y, axis=axes), np.sum(x * back, axis=axes), 1e-11
        )

    @parameterized.parameters(
        dict(kernel_size=(3, 2)),
        dict(kernel_size=(3, 4), strides=(2, 3)),
        dict(kernel_size=3, dilation_rate=2),
    )
    def test_images_are_convolved_as_keras_does(self, **kwargs):
        layer = keras.layers.Conv2DTranspose(5, padding="valid", **kwargs)
        x = self.normal(2, 4, 5, 6)
        expected = to_numpy(layer(x))
        actual = transpose_convolve(
            x.astype("float64"),
            to_numpy(layer.kernel).astype("float64"),
            layer.strides,
            layer.dilation_rate,
            1,
            expected.shape[1:-1],
        )
        self.assertAllClose(actual, expected, atol=1e-5)
