import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.linalg import complex_polar
from tests.layers.convolutional.convolution_test_case import ConvolutionTestCase
from tests.lipschitz_test_case import to_numpy


class LOTConv2DTest(ConvolutionTestCase):
    @parameterized.parameters(
        {},
        {"strides": 2, "iterations": 14, "use_bias": False},
        {"data_format": "channels_first", "activation": "relu"},
    )
    def test_contract(self, **init_kwargs):
        first = init_kwargs.get("data_format") == "channels_first"
        strides = init_kwargs.get("strides", 1)
        height, width = 4 // strides, 6 // strides
        self.run_lipschitz_layer_test(
            layers.LOTConv2D,
            init_kwargs={"filters": 3, "kernel_size": 3, **init_kwargs},
            input_shape=(2, 4, 6) if first else (4, 6, 2),
            expected_output_shape=(3, 4, 6) if first else (height, width, 3),
            expected_bound=1.0,
        )

    @parameterized.parameters(
        ((2, 4), 1, (6, 6)), ((4, 2), 1, (3, 4)), ((1, 5), 2, (4, 6))
    )
    def test_matrices_are_the_polar_factors_at_each_frequency(
        self, channels, strides, image
    ):
        inputs, filters = channels
        layer = layers.LOTConv2D(filters, 3, strides, iterations=30)
        self.build(layer, image, inputs)
        twin = layers.CayleyConv2D(filters, 3, strides)
        self.build(twin, image, inputs)
        twin.set_weights(layer.get_weights())
        # The Cayley layer reads the same matrices: they are taken from it.
        seen = []
        self.plant(
            layers.CayleyConv2D,
            "_constrain_spectrum",
            lambda layer, real, imaginary: (
                seen.append(to_numpy(real) + 1j * to_numpy(imaginary))
                or (real, imaginary)
            ),
        )
        twin._compute_spectrum()
        left, _, right = np.linalg.svd(seen[0], full_matrices=False)
        real, imaginary = map(to_numpy, layer._compute_spectrum())
        found = real + 1j * imaginary
        self.assertAllClose(found.real, (left @ right).real, 1e-4, 1e-4)
        self.assertAllClose(found.imag, (left @ right).imag, 1e-4, 1e-4)
        values = self.check_norm(layer, image, inputs, tolerance=1e-4)
        self.assertGreaterEqual(values.min(), 1 - 1e-4)

    def test_weights_fit_images_of_another_size(self):
        layer = self.build(layers.LOTConv2D(2, 3), (4, 4), 3)
        other = self.build(layers.LOTConv2D(2, 3), (4, 5), 3)
        other.set_weights(layer.get_weights())
        self.check_norm(other, (4, 5), 3)

    def test_invalid_arguments_are_refused(self):
        with self.assertRaisesRegex(ValueError, "`iterations` must be a"):
            layers.LOTConv2D(3, 3, iterations=0)
        with self.assertRaisesRegex(ValueError, "`LOTConv2D` is orthogonal in"):
            layers.LOTConv2D(3, 3, padding_mode="zeros")


class ComplexPolarTest(ConvolutionTestCase):
    @parameterized.parameters(1, 2, 5)
    def test_singular_values_grow_as_the_iteration_says(self, iterations):
        values = np.array([1.0, 0.5, 0.1, 0.0], "float32")
        real, imaginary = complex_polar(
            np.diag(values), np.zeros((4, 4), "float32"), iterations
        )
        p = values.astype("float64") ** 2
        for _ in range(iterations):
            p = p * (3 - p) ** 2 / 4
        self.assertAllClose(real, np.diag(np.sqrt(p)), 1e-5, 1e-6)
        self.assertAllClose(imaginary, np.zeros((4, 4)))

    @parameterized.parameters(1e-30, 1.0, 1e18)
    def test_the_size_of_a_matrix_does_not_count(self, scale):
        matrix = self.normal(5, 3), self.normal(5, 3)
        expected = complex_polar(*matrix, 12)
        scaled = [(part * scale).astype("float32") for part in matrix]
        for found, part in zip(
            complex_polar(*scaled, 12), expected, strict=True
        ):
            self.assertAllClose(found, part, 1e-4, 1e-5)

    def test_zero_stays_zero(self):
        zeros = np.zeros((3, 2), "float32")
        for part in complex_polar(zeros, zeros, 10):
            self.assertAllClose(part, zeros)
