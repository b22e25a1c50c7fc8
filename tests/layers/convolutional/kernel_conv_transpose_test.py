import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from tests.layers.convolutional.convolution_test_case import ConvolutionTestCase
from tests.lipschitz_test_case import to_numpy

FORWARD = {
    layers.AOLConv2DTranspose: layers.AOLConv2D,
    layers.BCOPConv2DTranspose: layers.BCOPConv2D,
    layers.RKOConv2DTranspose: layers.RKOConv2D,
}
# Kernel size, strides, dilation rate and padding.
CASES = (
    (3, 1, 1, "circular"),
    ((4, 2), 1, 1, "zeros"),
    (3, 1, 1, "valid"),
    (2, 2, 1, "zeros"),
    (3, 2, 1, "circular"),
    (3, 2, 1, "zeros"),
    ((4, 5), 2, 1, "circular"),
    ((5, 3), (2, 1), 1, "valid"),
    ((3, 2), 1, (1, 2), "circular"),
)
# Windows that BCOP has none of: they skip pixels.
SPARSE_CASES = (
    (1, 2, 1, "circular"),
    ((2, 1), 3, 1, "zeros"),
    (1, (3, 2), 1, "valid"),
)
ALL_CASES = tuple(
    (layer_cls, *case)
    for layer_cls in FORWARD
    for case in CASES
    + SPARSE_CASES * (layer_cls is not layers.BCOPConv2DTranspose)
)


class KernelConvTransposeTest(ConvolutionTestCase):
    @parameterized.parameters(
        (layers.AOLConv2DTranspose, "circular", 2),
        (layers.AOLConv2DTranspose, "zeros", 1),
        (layers.BCOPConv2DTranspose, "circular", 1),
        (layers.BCOPConv2DTranspose, "zeros", 2),
        (layers.RKOConv2DTranspose, "circular", 2),
        (layers.RKOConv2DTranspose, "zeros", 1),
    )
    def test_contract(self, layer_cls, padding_mode, strides):
        orthogonal = layer_cls is layers.BCOPConv2DTranspose
        self.run_lipschitz_layer_test(
            layer_cls,
            init_kwargs={
                "filters": 2,
                "kernel_size": 3,
                "strides": strides,
                "padding_mode": padding_mode,
            },
            input_shape=(2, 3, 3),
            expected_output_shape=(2 * strides, 3 * strides, 2),
            expected_bound=1.0 if orthogonal else None,
        )

    @parameterized.parameters(*ALL_CASES)
    def test_matrix_is_the_transpose_of_that_of_the_convolution(
        self, layer_cls, kernel_size, strides, dilation_rate, padding
    ):
        kwargs = {
            "kernel_size": kernel_size,
            "strides": strides,
            "dilation_rate": dilation_rate,
            "padding": "valid" if padding == "valid" else "same",
            "padding_mode": "circular" if padding == "circular" else "zeros",
        }
        layer = self.build(layer_cls(2, **kwargs), (2, 3), 3)
        matrix = self.matrix_of(layer, (2, 3), 3)
        output_shape = layer.compute_output_shape((None, 2, 3, 3))
        self.assertLen(matrix, np.prod(output_shape[1:]))

        forward = FORWARD[layer_cls](3, **kwargs)
        forward.build(output_shape)
        forward.free_kernel.assign(layer.free_kernel)
        if hasattr(layer, "free_projectors"):
            forward.free_projectors.assign(layer.free_projectors)
        expected = self.matrix_of(forward, output_shape[1:3], 2).T
        self.assertAllClose(matrix, expected, 1e-5)
        self.assertAllClose(
            layer.lipschitz_bound(), forward.lipschitz_bound(), 1e-5
        )

        values = self.check_norm(layer, (2, 3), 3)
        self.assertGreater(values.max(), 0.2)

    @parameterized.parameters((4, 2), (3, 1), (2, 2), (2, 3))
    def test_zero_padding_is_that_of_a_stock_layer(self, kernel_size, strides):
        # With other windows, the one of Keras 3.12 on PyTorch keeps others of
        # the pixels.
        layer = layers.AOLConv2DTranspose(
            2, kernel_size, strides=strides, padding_mode="zeros"
        )
        self.build(layer, (4, 5), 3)
        stock = keras.layers.Conv2DTranspose(
            2,
            kernel_size,
            strides=strides,
            padding="same",
            data_format="channels_last",
        )
        stock.build((None, 4, 5, 3))
        stock.set_weights([to_numpy(layer.kernel), to_numpy(layer.bias)])
        x = self.normal(2, 4, 5, 3)
        self.assertAllClose(layer(x), stock(x), 1e-5)

    @parameterized.product(
        layer_cls=tuple(FORWARD), padding=("circular", "zeros", "valid")
    )
    def test_stock_form_has_a_bias_and_an_activation(self, layer_cls, padding):
        layer = layer_cls(
            2,
            3,
            strides=2,
            padding="valid" if padding == "valid" else "same",
            padding_mode="circular" if padding == "circular" else "zeros",
            activation="sigmoid",
        )
        self.build(layer, (2, 3), 3)
        x = self.normal(2, 2, 3, 3)
        stock = layer.to_keras_layer()
        self.assertAllClose(stock(x), layer(x), 1e-5)
        self.assertLess(layer.lipschitz_bound(), 0.26)
        if padding == "valid":
            _, only = stock.layers
            self.assertIs(type(only), keras.layers.Conv2DTranspose)

    def test_stock_form_is_dilated(self):
        layer = layers.AOLConv2DTranspose(2, (3, 2), dilation_rate=(1, 2))
        self.build(layer, (2, 3), 3)
        x = self.normal(2, 2, 3, 3)
        self.assertAllClose(layer.to_keras_layer()(x), layer(x), 1e-5)

    # There is nothing to pad or to crop with `"valid"`.
    @parameterized.parameters(
        (layers.AOLConv2DTranspose, "valid"),
        (layers.BCOPConv2DTranspose, "same"),
        (layers.RKOConv2DTranspose, "same"),
    )
    def test_data_formats_agree(self, layer_cls, padding):
        self.check_data_formats_agree(
            layer_cls, filters=2, kernel_size=3, strides=2, padding=padding
        )

    def test_image_sizes_may_be_unknown(self):
        self.check_unknown_sizes(
            layers.AOLConv2DTranspose, filters=2, kernel_size=3
        )
        # Strides divide the sides of the outputs, whatever those of the inputs.
        inputs = keras.Input((None, None, 3))
        layer = layers.AOLConv2DTranspose(2, 3, strides=2)
        model = keras.Model(inputs, layer(inputs))
        self.assertEqual(model.output_shape, (None, None, None, 2))
        self.assertEqual(model(np.ones((2, 3, 5, 3))).shape, (2, 6, 10, 2))

    @parameterized.parameters(*FORWARD)
    def test_invalid_arguments_are_refused(self, layer_cls):
        for kwargs, message in (
            ({"filters": 0}, "`filters` must be a positive integer"),
            ({"strides": 0}, "`strides` must be a positive integer"),
            ({"padding": "full"}, "Unknown padding: 'full'"),
            ({"padding_mode": "wrap"}, "Unknown padding_mode: 'wrap'"),
            ({"strides": 2, "dilation_rate": 2}, "strides or a dilation"),
            ({"groups": 2}, "has no groups.*Received: groups=2"),
            ({"activation": "gulp"}, "'gulp'"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                layer_cls(**{"filters": 4, "kernel_size": 3, **kwargs})

    def test_inputs_that_do_not_fit_are_refused(self):
        layer = layers.AOLConv2DTranspose(2, 7, strides=2)
        with self.assertRaisesRegex(ValueError, "must have a known size"):
            layer.build((None, 4, 4, None))
        with self.assertRaisesRegex(ValueError, "expected ndim=4"):
            layer(self.normal(2, 4, 4))
        with self.assertRaisesRegex(ValueError, "longer than the image"):
            layer(self.normal(2, 1, 4, 3))


class RKOConv2DTransposeTest(ConvolutionTestCase):
    @parameterized.parameters((7, "circular"), (8, "zeros"), (9, "circular"))
    def test_windows_that_do_not_overlap_are_orthogonal(self, inputs, padding):
        layer = layers.RKOConv2DTranspose(
            2, 2, parametrization="cayley", strides=2, padding_mode=padding
        )
        self.build(layer, (2, 3), inputs)
        values = self.check_norm(layer, (2, 3), inputs)
        self.assertGreaterEqual(values.min(), 1 - 1e-4)

    def test_parametrization_must_be_orthogonal(self):
        with self.assertRaisesRegex(ValueError, "needs an orthogonal"):
            layers.RKOConv2DTranspose(3, 3, parametrization="aol")


class BCOPConv2DTransposeTest(ConvolutionTestCase):
    # Input channels below, at and above those that the phases make of filters.
    @parameterized.parameters(
        (4, 2, 3, 1, 1),
        (3, 3, (3, 2), 1, (1, 2)),
        (2, 4, 3, 1, 1),
        (7, 2, 3, 2, 1),
        (8, 2, (2, 4), 2, 1),
        (9, 2, 3, 2, 1),
    )
    def test_all_singular_values_are_one(
        self, inputs, filters, kernel_size, strides, dilation_rate
    ):
        layer = layers.BCOPConv2DTranspose(
            filters, kernel_size, strides=strides, dilation_rate=dilation_rate
        )
        self.build(layer, (2, 3), inputs)
        values = self.check_norm(layer, (2, 3), inputs)
        self.assertGreaterEqual(values.min(), 1 - 1e-4)
        self.assertLessEqual(layer.lipschitz_bound(), 1 + 1e-4)

    @parameterized.parameters(
        ((2, 3, 8), {}), ((2, 3, 7), {}), ((2, 3, 8), {"padding": "valid"})
    )
    def test_upsampling_keeps_the_norm_of_inputs(self, shape, kwargs):
        layer = layers.BCOPConv2DTranspose(2, 3, strides=2, **kwargs)
        x = self.normal(3, *shape)
        norms = np.linalg.norm(to_numpy(layer(x)).reshape(3, -1), axis=1)
        expected = np.linalg.norm(x.reshape(3, -1), axis=1)
        self.assertAllClose(norms, expected, 1e-4)

    def test_it_undoes_a_convolution_that_widens(self):
        forward = layers.BCOPConv2D(9, 3, strides=2, use_bias=False)
        x = self.normal(2, 4, 6, 2)
        images = forward(x)
        layer = layers.BCOPConv2DTranspose(2, 3, strides=2, use_bias=False)
        layer.build(images.shape)
        layer.set_weights(forward.get_weights())
        self.assertAllClose(layer(images), x, 1e-5)

    def test_invalid_arguments_are_refused(self):
        for kwargs, message in (
            ({"parametrization": "aol"}, "needs an orthogonal"),
            ({"strides": 4}, "`kernel_size` must be at least `strides`"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                layers.BCOPConv2DTranspose(4, 3, **kwargs)
