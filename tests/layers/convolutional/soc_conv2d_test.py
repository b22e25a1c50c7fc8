import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.operators import ConvolutionOperator
from keras_lip.proofs.truncated_exponential_bound import (
    truncated_exponential_bound,
)
from tests.layers.convolutional.convolution_test_case import ConvolutionTestCase
from tests.lipschitz_test_case import to_numpy


class SOCConv2DTest(ConvolutionTestCase):
    def generator_norm(self, layer, image=(5, 6)):
        """Returns the norm of the generator on zero-padded images."""
        kernel = layer._generator
        operator = ConvolutionOperator(padding_mode="zeros")
        matrix = operator.as_matrix(kernel, (*image, kernel.shape[-1]))
        return self.singular_values(matrix).max()

    @parameterized.parameters(("circular", 1, "fast"), ("zeros", 2, "exact"))
    def test_contract(self, padding_mode, strides, gradient):
        self.run_lipschitz_layer_test(
            layers.SOCConv2D,
            init_kwargs={
                "filters": 3,
                "kernel_size": 3,
                "strides": strides,
                "padding_mode": padding_mode,
                "gradient": gradient,
            },
            input_shape=(4, 6, 2),
            expected_output_shape=(4 // strides, 6 // strides, 3),
        )

    @parameterized.parameters(
        (2, 4, 1, 1, "circular", (6, 6)),
        (2, 4, 3, 1, "circular", (6, 6)),
        (3, 3, 3, 1, "circular", (4, 6)),
        (4, 2, 3, 1, "zeros", (4, 6)),
        (3, 3, (3, 5), 1, "zeros", (4, 6)),
        (2, 4, 3, 2, "circular", (6, 6)),
        (2, 9, 3, 2, "circular", (4, 6)),
        (3, 3, 3, (1, 2), "zeros", (4, 6)),
    )
    def test_is_orthogonal(
        self, inputs, filters, kernel_size, strides, padding_mode, image
    ):
        layer = layers.SOCConv2D(
            filters, kernel_size, strides=strides, padding_mode=padding_mode
        )
        self.build(layer, image, inputs)
        # As many singular values as the smaller side of the matrix has.
        values = self.check_norm(layer, image, inputs)
        self.assertGreater(values.min(), 1 - 1e-5)
        self.assertEqual(layer.lipschitz_bound(), 1)
        # Far from the identity.
        self.assertGreater(self.generator_norm(layer), 0.7)

    @parameterized.parameters("circular", "zeros")
    def test_is_the_exponential_of_a_skew_convolution(self, padding_mode):
        layer = layers.SOCConv2D(3, 3, padding_mode=padding_mode)
        self.build(layer, (4, 6), 3)
        operator = ConvolutionOperator(padding_mode=padding_mode)
        matrix = to_numpy(operator.as_matrix(layer._generator, (4, 6, 3)))
        self.assertAllClose(matrix, -matrix.T, atol=0, rtol=0)
        matrix = matrix.astype("float64")
        term = exponential = np.eye(len(matrix))
        for order in range(1, 30):
            term = term @ matrix / order
            exponential = exponential + term
        self.assertAllClose(self.matrix_of(layer, (4, 6), 3), exponential, 1e-5)

    def test_channels_are_padded_and_truncated_at_the_end(self):
        x = self.normal(2, 4, 5, 3)
        more = layers.SOCConv2D(5, 3, kernel_initializer="zeros")
        self.assertAllClose(more(x)[..., :3], x)
        self.assertAllClose(more(x)[..., 3:], np.zeros((2, 4, 5, 2)))
        less = layers.SOCConv2D(2, 3, kernel_initializer="zeros")
        self.assertAllClose(less(x), x[..., :2])

    @parameterized.parameters((1, 1.0), (4, 3.2), (5, 1.2), (6, 3.0), (8, 3.6))
    def test_bound_is_that_of_the_polynomial(self, terms, norm):
        # One pair of channels that turn into one another: the spectrum of `A`
        # is `+-i norm`, on images of any size.
        layer = layers.SOCConv2D(2, 3, eval_terms=terms, max_norm=10.0)
        layer.build((None, 4, 4, 2))
        kernel = np.zeros((3, 3, 2, 2), "float32")
        kernel[1, 1, 0, 1] = norm
        layer.free_kernel.assign(kernel)
        values = self.check_norm(layer, (4, 4), 2, tolerance=None)
        self.assertLess(layer.lipschitz_bound(), values.max() * (1 + 1e-2))
        self.assertGreater(layer.lipschitz_bound(), 1)

    @parameterized.parameters((2, "circular"), (6, "zeros"))
    def test_bound_holds_where_the_polynomial_expands(
        self, terms, padding_mode
    ):
        layer = layers.SOCConv2D(
            3, 3, eval_terms=terms, max_norm=4.0, padding_mode=padding_mode
        )
        self.build(layer, (6, 6), 3)
        values = self.check_norm(layer, (6, 6), 3, tolerance=None)
        self.assertGreater(values.max(), 1 + 1e-3)
        # The norm of the generator is measured, not taken for 4.
        bound = layer.lipschitz_bound()
        self.assertLess(bound, 1.3 * values.max())
        self.assertLess(bound, 0.8 * truncated_exponential_bound(terms, 4.0))

    @parameterized.parameters(1e-20, 1.0, 1e20)
    def test_generator_is_held_at_any_scale(self, scale):
        layer = layers.SOCConv2D(3, 3, max_norm=1.5)
        layer.build((None, 5, 6, 2))
        layer.free_kernel.assign(self.normal(3, 3, 3, 3, scale=scale))
        norm = self.generator_norm(layer)
        self.assertLessEqual(norm, 1.5)
        self.assertGreater(norm, min(0.7, scale))
        self.assertEqual(layer.lipschitz_bound(), 1)

    def test_zero_kernel_is_the_identity_and_leaves_it(self):
        layer = layers.SOCConv2D(3, 3, kernel_initializer="zeros")
        x = self.normal(8, 4, 5, 3)
        self.assertAllClose(layer(x), x)
        model = keras.Sequential([keras.Input((4, 5, 3)), layer])
        model.compile(keras.optimizers.SGD(0.1), loss="mse")
        model.fit(x, self.normal(8, 4, 5, 3), verbose=0)
        kernel = to_numpy(layer.free_kernel)
        self.assertTrue(np.isfinite(kernel).all())
        self.assertGreater(np.abs(kernel).max(), 0)

    def test_terms_are_those_of_training_or_inference(self):
        x = self.normal(2, 4, 5, 3)
        layer = self.build(layers.SOCConv2D(3, 3), (4, 5), 3)

        def with_terms(terms):
            other = layers.SOCConv2D(3, 3, eval_terms=terms)
            other.build((None, 4, 5, 3))
            other.set_weights(layer.get_weights())
            return other(x)

        self.assertGreater(
            np.abs(to_numpy(with_terms(6)) - to_numpy(with_terms(12))).max(),
            1e-5,
        )
        self.assertAllClose(layer(x), with_terms(12))
        self.assertAllClose(layer(x, training=True), with_terms(6))
        layer.trainable = False
        self.assertAllClose(layer(x, training=True), with_terms(12))

    def test_gradients_agree(self):
        x, y = self.normal(16, 4, 5, 8), self.normal(16, 4, 5, 8)
        steps = []
        for gradient in ("fast", "exact"):
            keras.utils.set_random_seed(0)
            layer = layers.SOCConv2D(8, 3, max_norm=1.0, gradient=gradient)
            model = keras.Sequential([keras.Input((4, 5, 8)), layer])
            model.compile(keras.optimizers.SGD(1.0), loss="mse")
            before = to_numpy(layer.free_kernel).copy()
            model.fit(x, y, batch_size=16, verbose=0)
            steps.append((to_numpy(layer.free_kernel) - before).ravel())
        fast, exact = steps
        cosine = fast @ exact / np.linalg.norm(fast) / np.linalg.norm(exact)
        self.assertGreater(cosine, 0.999)
        self.assertGreater(np.abs(fast - exact).max(), 0)

    def test_data_formats_agree(self):
        self.check_data_formats_agree(
            layers.SOCConv2D, filters=4, kernel_size=3, strides=2
        )

    def test_image_sizes_may_be_unknown(self):
        self.check_unknown_sizes(layers.SOCConv2D, filters=4, kernel_size=3)
        inputs = keras.Input((None, None, 3))
        layer = layers.SOCConv2D(4, 3)
        layer(inputs)
        x = self.normal(2, 5, 7, 3)
        self.assertAllClose(layer.to_keras_layer()(x), layer(x), 1e-5)
        strided = layers.SOCConv2D(4, 3, strides=2)
        self.assertEqual(strided(inputs).shape, (None, None, None, 4))
        with self.assertRaisesRegex(ValueError, "inputs of known shape"):
            strided.to_keras_layer()

    def test_single_term_has_a_stock_form(self):
        layer = layers.SOCConv2D(3, 3, eval_terms=1, activation="relu")
        self.build(layer, (4, 5), 4)
        x = self.normal(2, 4, 5, 4)
        self.assertAllClose(layer.to_keras_layer()(x), layer(x), 1e-5)

    def test_generator_is_computed_in_float32_under_mixed_precision(self):
        # What is skew-symmetric in this kernel is lost in bfloat16.
        layer = layers.SOCConv2D(3, 3, dtype="mixed_bfloat16")
        layer.build((None, 4, 5, 3))
        layer.free_kernel.assign(256 + self.normal(3, 3, 3, 3, scale=0.1))
        x = self.normal(2, 4, 5, 3)
        self.assertGreater(np.abs(to_numpy(layer(x)) - x).max(), 0.1)

    def test_config_holds_all_arguments(self):
        kwargs = {
            "train_terms": 5,
            "eval_terms": 14,
            "max_norm": 1.5,
            "gradient": "exact",
        }
        config = layers.SOCConv2D(4, 3, **kwargs).get_config()
        self.assertEqual({**config, **kwargs}, config)

    def test_activation_counts(self):
        layer = layers.SOCConv2D(3, 1, activation="sigmoid")
        self.build(layer, (4, 4), 3)
        self.assertEqual(layer.lipschitz_bound(), 0.25)

    def test_invalid_arguments_are_refused(self):
        for kwargs, message in (
            ({"filters": 0}, "`filters` must be a positive integer"),
            ({"kernel_size": 2}, "`kernel_size` must be odd.*kernel_size=2"),
            ({"kernel_size": (3, 4)}, "`kernel_size` must be odd"),
            ({"train_terms": 0}, "`train_terms` must be a positive integer"),
            ({"eval_terms": 2.5}, "`eval_terms` must be a positive integer"),
            ({"max_norm": 0.0}, "`max_norm` must be .* greater than 0"),
            ({"gradient": "slow"}, "Unknown gradient: 'slow'.*'exact', 'fast'"),
            ({"padding": "valid"}, "`padding` must be \"same\".*'valid'"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                layers.SOCConv2D(**{"filters": 4, "kernel_size": 3, **kwargs})

    def test_strides_must_divide_the_image(self):
        layer = layers.SOCConv2D(4, 3, strides=2)
        with self.assertRaisesRegex(
            ValueError, "multiples of the sides of its bl"
        ):
            layer.build((None, 5, 4, 3))
