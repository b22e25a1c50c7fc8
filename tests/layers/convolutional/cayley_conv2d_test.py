import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip.linalg import split_phases
from keras_lip.operators import ConvolutionOperator
from keras_lip.operators import FourierOperator
from tests.layers.convolutional.convolution_test_case import ConvolutionTestCase
from tests.lipschitz_test_case import to_numpy

# Channels, kernel size, strides and image. There are more inputs than outputs,
# fewer, or as many, also once strides have made channels of pixels; sides are
# even and odd, and a window may meet a pixel twice.
CASES = (
    ((2, 4), 3, 1, (6, 6)),
    ((4, 2), (4, 5), 1, (3, 4)),
    ((3, 3), 2, 1, (4, 5)),
    ((3, 3), 1, 1, (4, 4)),
    ((4, 2), 3, 2, (4, 6)),
    ((1, 5), (4, 5), 2, (4, 6)),
)


class CayleyConv2DTest(ConvolutionTestCase):
    @parameterized.parameters(
        {},
        {"strides": 2, "scale": 0.85, "use_bias": False},
        {"data_format": "channels_first", "activation": "relu"},
    )
    def test_contract(self, **init_kwargs):
        first = init_kwargs.get("data_format") == "channels_first"
        strides = init_kwargs.get("strides", 1)
        height, width = 4 // strides, 6 // strides
        self.run_lipschitz_layer_test(
            layers.CayleyConv2D,
            init_kwargs={"filters": 3, "kernel_size": 3, **init_kwargs},
            input_shape=(2, 4, 6) if first else (4, 6, 2),
            expected_output_shape=(3, 4, 6) if first else (height, width, 3),
            expected_bound=init_kwargs.get("scale", 1.0),
        )

    @parameterized.parameters(*CASES)
    def test_matrix_is_the_transform_of_a_convolution(
        self, channels, kernel_size, strides, image
    ):
        inputs, filters = channels
        layer = layers.CayleyConv2D(filters, kernel_size, strides=strides)
        self.build(layer, image, inputs)
        # The free kernel as a matrix that multiplies rows of pixels, of the
        # image whose channels are the phases.
        inputs *= strides**2
        rows, columns = image[0] // strides, image[1] // strides
        kernel = split_phases(layer.free_kernel.value, layer.strides)
        free = ConvolutionOperator().as_matrix(kernel, (rows, columns, inputs))
        expected = _cayley(to_numpy(free).T, inputs, filters)

        upsample = layers.InvertibleUpsampling2D(strides, "channels_last")
        images = keras.Input((rows, columns, inputs))
        model = keras.Model(images, layer(upsample(images)))
        basis = np.eye(len(expected), dtype="float32")
        basis = basis.reshape(-1, rows, columns, inputs)
        outputs = model.predict(basis, batch_size=len(basis), verbose=0)
        actual = (outputs - to_numpy(layer.bias)).reshape(len(basis), -1)
        self.assertAllClose(actual, expected, 1e-5)
        # Orthogonal: the singular values are one, as many as there can be.
        values = self.singular_values(actual)
        self.assertGreaterEqual(values.min(), 1 - 1e-4)
        bound = layer.lipschitz_bound()
        self.assertLessEqual(values.max(), bound * (1 + 1e-6))
        self.assertAllClose(bound, 1, 1e-5)

    @parameterized.parameters(0.0, 0.02, 20.0)
    def test_convolution_is_orthogonal_at_any_scale(self, scale):
        layer = self.build(layers.CayleyConv2D(3, 3), (4, 4), 3)
        layer.free_kernel.assign(self.normal(3, 3, 3, 3, scale=scale))
        values = self.check_norm(layer, (4, 4), 3, tolerance=1e-4)
        self.assertGreaterEqual(values.min(), 1 - 1e-4)

    def test_outputs_are_scaled_and_then_shifted(self):
        x = self.normal(2, 4, 4, 3)
        layer = self.build(layers.CayleyConv2D(3, 3), (4, 4), 3)
        scaled = self.build(layers.CayleyConv2D(3, 3, scale=0.85), (4, 4), 3)
        scaled.set_weights(layer.get_weights())
        bias = to_numpy(layer.bias)
        expected = 0.85 * (to_numpy(layer(x)) - bias) + bias
        self.assertAllClose(scaled(x), expected)
        self.assertAllClose(scaled.lipschitz_bound(), 0.85)

    def test_data_formats_agree(self):
        self.check_data_formats_agree(
            layers.CayleyConv2D, filters=3, kernel_size=3, strides=2
        )

    def test_weights_fit_images_of_another_size(self):
        layer = self.build(layers.CayleyConv2D(3, 3), (4, 4), 3)
        other = self.build(layers.CayleyConv2D(3, 3), (4, 5), 3)
        other.set_weights(layer.get_weights())
        values = self.check_norm(other, (4, 5), 3)
        self.assertGreaterEqual(values.min(), 1 - 1e-4)

    def test_bound_sees_matrices_that_are_not_unitary(self):
        layer = self.build(layers.CayleyConv2D(3, 3), (4, 4), 3)
        real, imaginary = layer._compute_spectrum()
        stretch = np.ones((len(real), 1, 1), "float32")
        # A frequency that no other shares a part of the image with.
        stretch[4] = 1.5
        spectrum = ops.multiply(real, stretch), ops.multiply(imaginary, stretch)
        self.plant(
            layers.CayleyConv2D, "_compute_spectrum", lambda layer: spectrum
        )
        values = self.check_norm(layer, (4, 4), 3, tolerance=None)
        self.assertAllClose(values.max(), 1.5, 1e-5)
        self.assertAllClose(layer.lipschitz_bound(), 1.5, 1e-5)
        # The stock form holds a kernel that is proven not to stretch.
        proven = layer.to_keras_layer(proven=True)
        self.assertLipschitz(proven, (4, 4, 3), 1.0)

    def test_bound_sees_transforms_that_are_no_isometries(self):
        layer = self.build(layers.CayleyConv2D(3, 3), (4, 4), 3)
        layer._operator = _StretchedOperator((4, 4))
        values = self.check_norm(layer, (4, 4), 3, tolerance=None)
        self.assertAllClose(values.max(), 1.2**4, 1e-5)
        self.assertAllClose(layer.lipschitz_bound(), 1.2**4, 1e-5)

    def test_transforms_stay_in_float32_in_mixed_precision(self):
        kwargs = {"filters": 3, "kernel_size": 3, "use_bias": False}
        layer = self.build(layers.CayleyConv2D(**kwargs), (4, 4), 3)
        mixed = layers.CayleyConv2D(**kwargs, dtype="mixed_bfloat16")
        self.build(mixed, (4, 4), 3)
        mixed.set_weights(layer.get_weights())
        self.assertAllClose(mixed.lipschitz_bound(), 1, 1e-5)
        # Nothing but the outputs is rounded, to 8 bits.
        x = ops.cast(self.normal(2, 4, 4, 3), "bfloat16")
        expected = layer(ops.cast(x, "float32"))
        self.assertAllClose(mixed(x), expected, 1e-6, 2.0**-8)
        # Its stock form rounds each of the transforms as well.
        self.assertAllClose(mixed.to_keras_layer()(x), mixed(x), 0.05, 0.05)

    def test_layer_compiles_and_trains(self):
        model = keras.Sequential(
            [keras.Input((4, 6, 2)), layers.CayleyConv2D(3, 3)]
        )
        # XLA has no complex solver on every backend; torch has no XLA.
        jit_compile = keras.backend.backend() != "torch"
        model.compile("sgd", "mse", jit_compile=jit_compile)
        x, y = self.normal(8, 4, 6, 2), self.normal(8, 4, 6, 3)
        history = model.fit(x, y, epochs=3, verbose=0).history["loss"]
        self.assertLess(history[-1], history[0])

    def test_invalid_arguments_are_refused(self):
        for kwargs, message in (
            ({"padding": "valid"}, "are periodic.*padding='valid'"),
            ({"padding_mode": "zeros"}, "are periodic.*='zeros'"),
            ({"scale": 0.0}, "`scale` must be .* greater than 0"),
            ({"scale": 1.5}, "`scale` must be .* at most 1"),
            ({"filters": 0}, "`filters` must be a positive integer"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                layers.CayleyConv2D(**{"filters": 4, "kernel_size": 3} | kwargs)

    def test_images_that_do_not_fit_are_refused(self):
        for shape in ((None, None, 6, 3), (None, 5, 6, 3)):
            with self.assertRaisesRegex(ValueError, "known sides"):
                layers.CayleyConv2D(4, 3, strides=2).build(shape)
        layer = self.build(layers.CayleyConv2D(4, 3), (4, 6), 3)
        with self.assertRaisesRegex(ValueError, "incompatible with the layer"):
            layer(self.normal(1, 6, 6, 3))


class _StretchedOperator(FourierOperator):
    def matrices(self, dtype):
        return tuple(1.2 * matrix for matrix in super().matrices(dtype))


def _cayley(matrix, inputs, filters):
    """Orthogonalizes a convolution, as rows of its matrix, in float64."""
    if inputs < filters:
        return _cayley(matrix.T, filters, inputs).T
    matrix = matrix.astype("float64")
    is_head = np.arange(len(matrix)) % inputs < filters
    head, tail = matrix[is_head], matrix[~is_head]
    generator = head - head.T + tail.T @ tail
    identity = np.eye(len(generator))
    inverse = np.linalg.inv(identity + generator)
    image = np.empty_like(matrix)
    image[is_head] = (identity - generator) @ inverse
    image[~is_head] = -2 * tail @ inverse
    return image
