import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip.layers.residual.potential_step import longest_step
from keras_lip.proofs.convolution_norm_bound import convolution_norm_bound
from tests.layers.convolutional.convolution_test_case import ConvolutionTestCase
from tests.lipschitz_test_case import to_numpy

LAYERS = (layers.ConvexPotentialConv2D, layers.SLLConv2D)


class HiddenConv2DTest(ConvolutionTestCase):
    """What `ConvexPotentialConv2D` and `SLLConv2D` have in common."""

    @parameterized.parameters(
        (layers.ConvexPotentialConv2D, 5, "same", "circular"),
        (layers.ConvexPotentialConv2D, 2, "valid", "zeros"),
        (layers.SLLConv2D, 5, "same", "zeros"),
        (layers.SLLConv2D, 2, "same", "circular"),
    )
    def test_contract(self, layer_cls, hidden_filters, padding, padding_mode):
        self.run_lipschitz_layer_test(
            layer_cls,
            init_kwargs={
                "hidden_filters": hidden_filters,
                "kernel_size": 3,
                "padding": padding,
                "padding_mode": padding_mode,
                "activation": "tanh",
            },
            input_shape=(4, 5, 3),
            expected_output_shape=(4, 5, 3),
            expected_bound=None,
        )

    @parameterized.product(
        layer_cls=LAYERS,
        case=(
            (3, "same", "circular"),
            (2, "same", "zeros"),
            (3, "valid", "zeros"),
        ),
        hidden_filters=(2, 5),
    )
    def test_jacobians_have_a_norm_of_at_most_the_bound(
        self, layer_cls, case, hidden_filters
    ):
        # With a linear activation the layer is one matrix, the worst case of
        # `max(1, 2 c - 1)`; it is symmetric if the way back is the transpose.
        kernel_size, padding, padding_mode = case
        layer = layer_cls(
            hidden_filters,
            kernel_size,
            padding=padding,
            padding_mode=padding_mode,
            activation="linear",
        )
        self.build(layer, (5, 6), 3)
        matrix = self.matrix_of(layer, (5, 6), 3)
        self.assertAllClose(matrix, matrix.T, 1e-5)
        values = np.linalg.eigvalsh(matrix)
        bound = layer.lipschitz_bound()
        self.assertLessEqual(np.abs(values).max(), bound * (1 + 1e-6))
        self.assertLessEqual(bound, 1.1)
        # The step is as long as can be: some direction is turned round, ...
        if layer_cls is layers.ConvexPotentialConv2D:
            self.assertLess(values.min(), -0.3)
        # ... and none is stretched.
        self.assertLessEqual(values.max(), 1 + 1e-5)

    @parameterized.parameters(*LAYERS)
    def test_outputs_are_those_of_the_formula(self, layer_cls):
        layer = layer_cls(4, 3, padding_mode="zeros")
        self.build(layer, (5, 5), 2)
        x = self.normal(3, 5, 5, 2)
        kernel, back = (to_numpy(kernel) for kernel in layer.compute_kernels())
        hidden = ops.conv(x, kernel, padding="same")
        hidden = np.maximum(to_numpy(hidden) + to_numpy(layer.bias), 0)
        descent = ops.conv_transpose(hidden, back, padding="same")
        self.assertAllClose(layer(x), x - to_numpy(descent), 1e-5)
        self.assertAllClose(kernel, layer.kernel)

    @parameterized.product(layer_cls=LAYERS, scale=(0.0, 1e-20, 1e15))
    def test_kernels_of_any_scale_stay_sound(self, layer_cls, scale):
        layer = layer_cls(4, 3)
        layer.build((None, 5, 5, 2))
        layer.kernel.assign(self.normal(3, 3, 2, 4, scale=scale))
        x = self.normal(3, 5, 5, 2)
        self.assertTrue(np.isfinite(to_numpy(layer(x))).all())
        self.assertLessEqual(layer.lipschitz_bound(), 1.1)

    @parameterized.parameters(*LAYERS)
    def test_data_formats_agree(self, layer_cls):
        self.check_data_formats_agree(
            layer_cls, hidden_filters=4, kernel_size=3
        )

    @parameterized.parameters(*LAYERS)
    def test_image_sizes_may_be_unknown(self, layer_cls):
        self.check_unknown_sizes(layer_cls, hidden_filters=4, kernel_size=3)

    @parameterized.parameters(*LAYERS)
    def test_invalid_arguments_are_refused(self, layer_cls):
        for kwargs, message in (
            ({"hidden_filters": 0}, "`hidden_filters` must be"),
            ({"kernel_size": (3, 3, 3)}, "or 2 of them"),
            ({"padding": "full"}, "Unknown padding: 'full'"),
            ({"padding_mode": "wrap"}, "Unknown padding_mode: 'wrap'"),
            ({"data_format": "NHWC"}, "Unknown data_format: 'NHWC'"),
            ({"activation": "gelu"}, "'gelu'"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                layer_cls(**{"hidden_filters": 4, "kernel_size": 3, **kwargs})
        with self.assertRaisesRegex(ValueError, "must have a known size"):
            layer_cls(4, 3).build((None, 4, 4, None))

    @parameterized.parameters(*LAYERS)
    def test_window_that_does_not_fit_is_refused(self, layer_cls):
        for data_format, shape in (
            ("channels_last", (None, 5, 2, 4)),
            ("channels_first", (None, 4, 2, 5)),
        ):
            layer = layer_cls(4, 3, padding="valid", data_format=data_format)
            with self.assertRaisesRegex(
                ValueError, "window of layer .* must fit"
            ):
                layer.build(shape)
        layer_cls(4, 3, padding="valid").build((None, 3, None, 4))


class ConvexPotentialConv2DTest(ConvolutionTestCase):
    def test_step_is_two_over_the_squared_norm(self):
        layer = layers.ConvexPotentialConv2D(4, 3)
        self.build(layer, (40, 40), 2)
        norm = convolution_norm_bound(to_numpy(layer.kernel))
        self.assertAllClose(layer.compute_step(), 2 / norm**2, rtol=1.5e-2)
        self.assertGreaterEqual(to_numpy(layer.compute_step()), 2 / norm**2)
        self.assertEqual(layer.power_iteration_vector.shape, (1, 40, 40, 2))

    def test_materialized_step_is_proven(self):
        layer = layers.ConvexPotentialConv2D(4, 3, activation="linear")
        self.build(layer, (5, 5), 2)
        self.assertGreater(layer.lipschitz_bound(), 1)
        stock = layer.to_keras_layer(proven=True)
        values = self.singular_values(self.matrix_of(stock, (5, 5), 2))
        self.assertLessEqual(values.max(), 1 + 1e-5)
        norm = convolution_norm_bound(to_numpy(layer.kernel))
        self.assertLessEqual(longest_step(norm) * norm * norm, 2)

    def test_bound_with_a_fraction_of_the_step_is_one(self):
        # The estimates are too small by up to about one percent.
        for fraction in (0.5, 0.95):
            layer = layers.ConvexPotentialConv2D(4, 3, step_fraction=fraction)
            self.build(layer, (5, 5), 2)
            norm = convolution_norm_bound(to_numpy(layer.kernel))
            step = fraction * 2 / norm**2
            self.assertAllClose(layer.compute_step(), step, rtol=2.5e-2)
            # The rounding of the scaled kernel counts.
            self.assertBetween(layer.lipschitz_bound(), 1.0, 1 + 1e-6)
        whole = layers.ConvexPotentialConv2D(4, 3)
        self.build(whole, (5, 5), 2)
        self.assertGreater(whole.lipschitz_bound(), 1 + 1e-4)

    def test_training_moves_the_image_on(self):
        layer = layers.ConvexPotentialConv2D(4, 3)
        x = self.normal(2, 5, 5, 3)
        layer(x)
        before = to_numpy(layer.power_iteration_vector).copy()
        layer(x)
        self.assertAllClose(layer.power_iteration_vector, before)
        layer(x, training=True)
        moved = to_numpy(layer.power_iteration_vector)
        self.assertGreater(np.abs(moved - before).max(), 1e-3)

    def test_fixed_step_counts_in_the_bound(self):
        layer = layers.ConvexPotentialConv2D(
            4, 3, step=0.5, activation="linear"
        )
        self.build(layer, (6, 6), 2)
        values = self.singular_values(self.matrix_of(layer, (6, 6), 2))
        self.assertGreater(values.max(), 2)
        self.assertGreaterEqual(layer.lipschitz_bound(), values.max())
        self.assertLess(layer.lipschitz_bound(), 1.2 * values.max())
        self.assertLen(layer.trainable_weights, 2)
        with self.assertRaisesRegex(ValueError, "`step` must be"):
            layers.ConvexPotentialConv2D(4, 3, step=0.0)


class SLLConv2DTest(ConvolutionTestCase):
    def test_window_of_one_pixel_is_the_dense_layer(self):
        conv = layers.SLLConv2D(5, 1)
        dense = layers.SLLDense(5)
        x = self.normal(2, 3, 3, 4)
        conv(x)
        dense(x)
        weights = [self.normal(*w.shape) for w in dense.weights]
        dense.set_weights(weights)
        conv.set_weights([weights[0][None, None], *weights[1:]])
        self.assertAllClose(conv(x), dense(x), 1e-5)

    def test_bound_stays_one_for_scales_far_apart(self):
        layer = layers.SLLConv2D(4, 3)
        layer.build((None, 6, 6, 2))
        layer.kernel.assign(self.normal(3, 3, 2, 4))
        layer.log_scale.assign(self.normal(4, scale=100.0))
        self.assertLessEqual(layer.lipschitz_bound(), 1 + 1e-5)
        values = self.check_linear(layer)
        self.assertLessEqual(values.max(), 1 + 1e-5)

    def check_linear(self, layer):
        linear = layers.SLLConv2D(4, 3, activation="linear")
        linear.build((None, 6, 6, 2))
        linear.set_weights(layer.get_weights())
        return self.singular_values(self.matrix_of(linear, (6, 6), 2))
