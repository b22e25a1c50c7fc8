import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.linalg import complex_reflector
from tests.layers.convolutional.convolution_test_case import ConvolutionTestCase
from tests.lipschitz_test_case import to_numpy


def reflector(v):
    """The reflector of the columns of complex matrices, in float64."""
    adjoint = np.conj(np.swapaxes(v, -2, -1))
    inner = np.linalg.solve(adjoint @ v, adjoint)
    return np.eye(v.shape[-2]) - 2 * v @ inner


class BROConv2DTest(ConvolutionTestCase):
    @parameterized.parameters(
        {},
        {"strides": 2, "rank_ratio": 0.25, "use_bias": False},
        {"data_format": "channels_first", "activation": "relu"},
        {"filters": 16, "strides": 2, "residual_scale": 0.5},
    )
    def test_contract(self, **init_kwargs):
        first = init_kwargs.get("data_format") == "channels_first"
        strides = init_kwargs.get("strides", 1)
        init_kwargs = {"filters": 3, "kernel_size": 3, **init_kwargs}
        filters = init_kwargs["filters"]
        height, width = 4 // strides, 6 // strides
        self.run_lipschitz_layer_test(
            layers.BROConv2D,
            init_kwargs=init_kwargs,
            input_shape=(2, 4, 6) if first else (4, 6, 2),
            expected_output_shape=(
                (filters, 4, 6) if first else (height, width, filters)
            ),
            expected_bound=1.0,
        )

    @parameterized.product(
        channels=((2, 4), (4, 2), (3, 3), (1, 1), (1, 9)),
        strides=(1, 2),
        residual_scale=(None, 0.5),
        image=((6, 6), (4, 6)),
    )
    def test_it_is_orthogonal(self, channels, strides, residual_scale, image):
        inputs, filters = channels
        layer = layers.BROConv2D(
            filters, 3, strides, residual_scale=residual_scale
        )
        self.build(layer, image, inputs)
        values = self.check_norm(layer, image, inputs)
        self.assertGreaterEqual(values.min(), 1 - 1e-4)

    def test_matrices_are_reflectors_at_each_frequency(self):
        layer = self.build(
            layers.BROConv2D(4, 3, use_bias=False, rank_ratio=0.5), (5, 6), 4
        )
        self.assertEqual(tuple(layer.free_kernel.shape), (3, 3, 4, 2))
        kernel = to_numpy(layer.free_kernel).astype("float64")
        padded = np.zeros((5, 6, 4, 2))
        for i in range(3):
            for j in range(3):
                padded[i - 1, j - 1] = kernel[i, j]
        spectrum = np.fft.fft2(padded, axes=(0, 1))
        x = self.normal(2, 5, 6, 4)
        # What meets the pixels after it has the conjugate spectrum.
        matrices = reflector(np.conj(spectrum))
        waves = np.fft.fft2(x, axes=(1, 2))
        expected = np.einsum("bhwi,hwio->bhwo", waves, matrices)
        expected = np.fft.ifft2(expected, axes=(1, 2))
        self.assertAllClose(expected.imag, 0 * x, 1e-6)
        self.assertAllClose(layer(x), expected.real, 1e-4, 1e-4)
        # It undoes itself.
        self.assertAllClose(layer(layer(x)), x, 1e-4, 1e-4)

    def test_zero_weights_with_the_identity_reflect_channels(self):
        layer = layers.BROConv2D(
            4, 3, residual_scale=1.0, kernel_initializer="zeros"
        )
        x = self.normal(2, 4, 4, 4)
        signs = np.array([-1, -1, 1, 1])
        self.assertAllClose(layer(x), x * signs, 1e-5, 1e-5)

    @parameterized.parameters((1, 3, 4, 2), (2, 3, 16, 8), (2, 64, 64, 32))
    def test_weights_are_of_low_rank(self, strides, filters, size, rank):
        layer = layers.BROConv2D(filters, 3, strides, residual_scale=0.5)
        layer.build((None, 4, 4, 4))
        self.assertEqual(tuple(layer.gamma.shape), (size,))
        window, rows = (3, 3), 4
        if filters > 4 * strides**2:
            window, rows = (2, 2), filters
        self.assertEqual(tuple(layer.free_kernel.shape), (*window, rows, rank))

    def test_weights_fit_images_of_another_size(self):
        layer = self.build(layers.BROConv2D(2, 3), (4, 4), 3)
        other = self.build(layers.BROConv2D(2, 3), (4, 5), 3)
        other.set_weights(layer.get_weights())
        self.check_norm(other, (4, 5), 3)

    def test_invalid_arguments_are_refused(self):
        with self.assertRaisesRegex(ValueError, "`rank_ratio`"):
            layers.BROConv2D(3, 3, rank_ratio=0.0)
        with self.assertRaisesRegex(ValueError, "`BROConv2D` is orthogonal in"):
            layers.BROConv2D(3, 3, padding_mode="zeros")


class ComplexReflectorTest(ConvolutionTestCase):
    @parameterized.parameters((5, 5), (3, 5), (5, 2))
    def test_image_is_the_reflector(self, rows, columns):
        real, imaginary = self.normal(4, 5, 3), self.normal(4, 5, 3)
        expected = reflector(real + 1j * imaginary.astype("complex128"))
        expected = expected[..., :rows, :columns]
        found = complex_reflector(real, imaginary, rows, columns)
        self.assertAllClose(found[0], expected.real, 3e-5, 1e-4)
        self.assertAllClose(found[1], expected.imag, 3e-5, 1e-4)

    def test_columns_that_depend_on_each_other_expand_nothing(self):
        real = np.repeat(self.normal(6, 1), 3, axis=1)
        imaginary = np.repeat(self.normal(6, 1), 3, axis=1)
        for scale in (0.0, 1e-30, 1.0, 1e18):
            parts = [(scale * p).astype("float32") for p in (real, imaginary)]
            found = complex_reflector(*parts, 6, 6)
            matrix = to_numpy(found[0]) + 1j * to_numpy(found[1])
            values = np.linalg.svd(matrix.astype("complex128"))[1]
            self.assertLessEqual(values.max(), 1 + 1e-5)
