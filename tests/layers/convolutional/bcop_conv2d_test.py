import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip import parametrizations
from tests.layers.convolutional.convolution_test_case import ConvolutionTestCase
from tests.linalg.block_convolution_test import sum_products
from tests.lipschitz_test_case import to_numpy


@keras.saving.register_keras_serializable(package="keras_lip_tests")
class CountedCayley(parametrizations.Cayley):
    """Counts its training steps, in a state."""

    def initial_state(self, shape):
        return {"steps": np.zeros((), "float32")}

    def constrain(self, matrix, state, training):
        image, _ = super().constrain(matrix, {}, training)
        return image, {"steps": state["steps"] + 1}


class BCOPConv2DTest(ConvolutionTestCase):
    @parameterized.parameters(
        {},
        {"strides": 2, "parametrization": "bjorck"},
        {"strides": 2, "padding_mode": "zeros"},
    )
    def test_contract(self, strides=1, **init_kwargs):
        self.run_lipschitz_layer_test(
            layers.BCOPConv2D,
            init_kwargs={
                "filters": 3,
                "kernel_size": 3,
                "strides": strides,
                **init_kwargs,
            },
            input_shape=(4, 6, 2),
            expected_output_shape=(4 // strides, 6 // strides, 3),
        )

    def check_orthogonal(self, layer, image, channels, tolerance=1e-5):
        self.build(layer, image, channels)
        values = self.check_norm(layer, image, channels, tolerance)
        self.assertGreaterEqual(values.min(), 1 - 1e-4)
        self.assertLessEqual(layer.lipschitz_bound(), 1 + 1e-4)

    # The last ones have `filters` below, at and above what the phases make of
    # the input channels.
    @parameterized.parameters(
        ((2, 4), 1, 1),
        ((4, 2), 2, 1),
        ((3, 3), 3, 1),
        ((2, 4), 3, 1),
        ((4, 2), (4, 5), 1),
        ((3, 3), 2, 2),
        ((4, 2), (4, 5), 2),
        ((3, 3), (1, 3), (1, 2)),
        ((2, 7), 3, 2),
        ((2, 8), 3, 2),
        ((1, 9), 3, 2),
    )
    def test_all_singular_values_are_one(self, channels, kernel_size, strides):
        inputs, filters = channels
        layer = layers.BCOPConv2D(filters, kernel_size, strides=strides)
        image = (5, 5) if strides == 1 else (4, 6)
        self.check_orthogonal(layer, image, inputs)

    @parameterized.parameters("bjorck", "cholesky", "exponential", "qr")
    def test_any_orthogonal_parametrization_will_do(self, name):
        if name == "bjorck":
            name = parametrizations.Bjorck(iterations=60)
        layer = layers.BCOPConv2D(3, 3, parametrization=name)
        # The exponential of a large matrix squares its roundings up.
        self.check_orthogonal(layer, (5, 5), 3, tolerance=5e-5)

    def test_truncated_parametrization_does_not_exceed_one(self):
        bjorck = parametrizations.Bjorck(iterations=1)
        layer = layers.BCOPConv2D(3, 3, parametrization=bjorck)
        self.build(layer, (5, 5), 3)
        self.assertLess(self.check_norm(layer, (5, 5), 3).min(), 0.9)

    def test_dilation_keeps_it_orthogonal(self):
        layer = layers.BCOPConv2D(3, 3, dilation_rate=(3, 2))
        self.check_orthogonal(layer, (6, 7), 3)

    def test_groups_are_convolutions_of_their_own(self):
        layer = layers.BCOPConv2D(6, 3, groups=2, strides=2)
        self.check_orthogonal(layer, (4, 6), 4)
        kernel = to_numpy(layer.kernel)
        alone = layers.BCOPConv2D(3, 3, strides=2)
        alone.build((None, 4, 6, 2))
        for group in range(2):
            ours = slice(group, group + 1)
            alone.free_kernel.assign(to_numpy(layer.free_kernel)[ours])
            projectors = to_numpy(layer.free_projectors)[:, ours]
            alone.free_projectors.assign(projectors)
            expected = kernel[..., 3 * group : 3 * group + 3]
            self.assertAllClose(alone.kernel, expected, 1e-5)

    @parameterized.parameters(
        {"padding_mode": "zeros"},
        {"padding_mode": "zeros", "strides": 2},
        {"padding": "valid"},
        {"padding": "valid", "strides": 2},
    )
    def test_padding_with_zeros_is_not_expansive(self, **kwargs):
        layer = self.build(layers.BCOPConv2D(3, 3, **kwargs), (5, 6), 3)
        self.check_norm(layer, (5, 6), 3)

    def test_kernel_is_the_product_of_the_paper(self):
        # Equation 5, in float64, with every other turn from its other end.
        layer = layers.BCOPConv2D(3, (3, 2), parametrization="qr")
        layer.build((None, 5, 5, 4))
        # Orthogonal matrices are their own images.
        matrix = np.linalg.qr(self.rng.normal(size=(4, 3)))[0]
        bases = np.linalg.qr(self.rng.normal(size=(3, 4, 2)))[0]
        layer.free_kernel.assign(matrix[None])
        layer.free_projectors.assign(bases[:, None])
        p, q, r = (basis @ basis.T for basis in bases)
        one = np.eye(4)
        factors = (
            np.stack([p, one - p])[:, None],
            np.stack([q, one - q])[None],
            np.stack([one - r, r])[:, None],
        )
        expected = matrix[None, None]
        for factor in reversed(factors):
            expected = sum_products(factor, expected, rank=2)
        self.assertAllClose(layer.kernel, expected, 1e-5)

    def test_widening_keeps_the_norm_of_inputs(self):
        x = self.normal(3, 4, 6, 2)
        layer = layers.BCOPConv2D(8, 3, strides=2)
        norms = np.linalg.norm(to_numpy(layer(x)).reshape(3, -1), axis=1)
        expected = np.linalg.norm(x.reshape(3, -1), axis=1)
        self.assertAllClose(norms, expected, 1e-4)

    @parameterized.parameters((1, 4), (4, 1))
    def test_projectors_live_on_the_larger_side(self, inputs, filters):
        # On one channel there would be no choice but a shift, a single tap.
        layer = layers.BCOPConv2D(filters, 3)
        layer.build((None, 5, 5, inputs))
        taps = np.abs(to_numpy(layer.kernel)).sum(axis=(2, 3))
        self.assertGreater(taps.min(), 1e-3)

    def test_one_channel_stays_in_its_place(self):
        # All there is are shifts, and these cancel.
        layer = layers.BCOPConv2D(1, 3, padding_mode="zeros")
        x = self.normal(2, 5, 6, 1)
        self.assertAllClose(np.abs(to_numpy(layer(x))), np.abs(x), 1e-6)

    def test_state_moves_in_training_alone(self):
        layer = layers.BCOPConv2D(3, 3, parametrization=CountedCayley())
        x = self.normal(2, 4, 6, 3)
        layer(x)
        layer(x, training=True)
        layer.trainable = False
        layer(x, training=True)
        for name in ("steps", "projector_steps"):
            self.assertAllClose(layer.state[name], 1)

    def test_constraint_stays_in_float32(self):
        layer = layers.BCOPConv2D(3, 3, dtype="mixed_bfloat16")
        self.build(layer, (4, 6), 3)
        self.assertEqual(
            keras.backend.standardize_dtype(layer.kernel.dtype), "float32"
        )
        kernel = to_numpy(layer.kernel)
        twin = layers.BCOPConv2D(3, 3)
        twin.build((None, 4, 6, 3))
        twin.set_weights(layer.get_weights())
        self.assertAllClose(twin.kernel, kernel, 1e-6)
        # The bound is that of the rounded kernel.
        self.assertGreater(layer.lipschitz_bound(), 1 + 1e-5)

    def test_data_formats_agree(self):
        self.check_data_formats_agree(
            layers.BCOPConv2D, filters=3, kernel_size=3
        )

    def test_image_sizes_may_be_unknown(self):
        self.check_unknown_sizes(layers.BCOPConv2D, filters=3, kernel_size=3)

    def test_invalid_arguments_are_refused(self):
        for kwargs, message in (
            ({"parametrization": "aol"}, "needs an orthogonal"),
            ({"parametrization": "gulp"}, "Unknown parametrization"),
            ({"strides": 4}, "`kernel_size` must be at least `strides`"),
            ({"strides": (1, 4)}, r"kernel_size=\(3, 3\), strides=\(1, 4\)"),
            ({"strides": 2, "dilation_rate": 2}, "strides or a dilation"),
            ({"groups": 3}, "multiple of `groups`"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                layers.BCOPConv2D(**{"filters": 4, "kernel_size": 3, **kwargs})
        with self.assertRaisesRegex(ValueError, "multiple of its groups"):
            layers.BCOPConv2D(4, 3, groups=2).build((None, 4, 4, 3))
        with self.assertRaisesRegex(ValueError, "multiples of the strides"):
            layers.BCOPConv2D(4, 3, strides=2).build((None, 4, 5, 3))
