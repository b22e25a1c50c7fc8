import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.bounds import lipschitz_bound
from keras_lip.bounds import propagate_bound
from keras_lip.program import freeze
from tests.lipschitz_test_case import to_numpy
from tests.program.stock.rule_test_case import RuleTestCase


class ActivationsTest(RuleTestCase):
    @parameterized.named_parameters(
        ("relu", layers.ReLU, {}),
        ("capped_relu", layers.ReLU, {"max_value": 1.0}),
        ("relu6", layers.ReLU, {"max_value": 6.0}),
        ("leaky_relu_of_relu", layers.ReLU, {"negative_slope": 0.5}),
        ("steep_relu", layers.ReLU, {"negative_slope": 3.0}),
        ("steep_capped", layers.ReLU, {"negative_slope": 3.0, "max_value": 1}),
        ("leaky_relu", layers.LeakyReLU, {}),
        ("steep_leaky_relu", layers.LeakyReLU, {"negative_slope": 2.5}),
        ("elu", layers.ELU, {}),
        ("flat_elu", layers.ELU, {"alpha": 0.5}),
        ("steep_elu", layers.ELU, {"alpha": 3.0}),
        ("decreasing_elu", layers.ELU, {"alpha": -3.0}),
        ("activation", layers.Activation, {"activation": "selu"}),
        ("identity", layers.Identity, {}),
    )
    def test_bound_is_the_steepest_slope(self, layer_cls, kwargs):
        self.assertSlope(layer_cls(**kwargs), 2)

    @parameterized.named_parameters(
        ("flat", [0.1, -0.2], 1.0),
        ("steep", [0.1, 2.5], 2.5),
        ("steep_and_negative", [-3.0, 2.5], 3.0),
    )
    def test_prelu_is_as_steep_as_its_steepest_slope(self, slopes, expected):
        layer = layers.PReLU()
        model = self.make_model(layer, 2)
        layer.set_weights([np.array(slopes, dtype="float32")])
        self.assertAlmostEqual(lipschitz_bound(model), expected, delta=1e-6)
        self.assertSlope(layer, 2)

    def test_prelu_of_shared_slopes_is_bounded(self):
        layer = layers.PReLU(shared_axes=[1, 2])
        self.make_model(layer, 3, 4, 2)
        layer.set_weights([np.array([[[0.5, -2.0]]], dtype="float32")])
        self.assertSlope(layer, 3, 4, 2)

    def test_slopes_are_rounded_as_they_run(self):
        # In bfloat16 a slope of 1.4999 is 1.5.
        initializer = keras.initializers.Constant(1.4999)
        layer = layers.PReLU(
            alpha_initializer=initializer, dtype="mixed_bfloat16"
        )
        model = self.make_model(layer, 1)
        self.assertEqual(to_numpy(model(-np.ones((1, 1))))[0, 0], -1.5)
        self.assertEqual(lipschitz_bound(model), 1.5)

    @parameterized.named_parameters(
        ("relu", layers.ReLU, {"negative_slope": np.nan}),
        ("leaky_relu", layers.LeakyReLU, {"negative_slope": np.nan}),
        ("elu", layers.ELU, {"alpha": np.nan}),
        ("infinite", layers.LeakyReLU, {"negative_slope": np.inf}),
    )
    def test_slope_that_is_no_number_has_no_bound(self, layer_cls, kwargs):
        self.assertEqual(self.bound(layer_cls(**kwargs), 2), np.inf)

    def test_prelu_with_a_slope_that_is_no_number_has_no_bound(self):
        layer = layers.PReLU()
        model = self.make_model(layer, 2)
        layer.set_weights([np.array([0.0, np.nan], dtype="float32")])
        self.assertEqual(lipschitz_bound(model), np.inf)

    def test_prelu_that_would_broadcast_is_refused(self):
        layer = layers.PReLU()
        self.make_model(layer, 3)
        # Called on one channel, it returns three: slopes of one are sqrt(3).
        model = self.make_model(layer, 1)
        self.assertEqual(to_numpy(model(np.ones((5, 1)))).shape, (5, 3))
        with self.assertRaisesRegex(ValueError, "must not broadcast its input"):
            lipschitz_bound(model)

    def test_slope_changed_after_building_is_seen(self):
        layer = layers.LeakyReLU()
        model = self.make_model(layer, 2)
        layer.negative_slope = 7.0
        self.assertEqual(lipschitz_bound(model), 7.0)

    def test_slope_counts_as_it_is_rounded(self):
        # In float32, 1.1 is larger than it is.
        bound = self.bound(layers.LeakyReLU(negative_slope=1.1), 2)
        self.assertEqual(bound, float(np.float32(1.1)))

    def test_activation_changed_after_building_is_seen(self):
        layer = layers.Dense(2, kernel_initializer="identity")
        model = self.make_model(layer, 2)
        layer.activation = keras.activations.sigmoid
        self.assertAlmostEqual(lipschitz_bound(model), 0.25, delta=1e-9)
        layer.activation = keras.activations.exponential
        with self.assertRaisesRegex(ValueError, "activation 'exponential'"):
            lipschitz_bound(model)

    def test_relu_with_a_threshold_is_refused(self):
        with self.assertRaisesRegex(
            ValueError, "is discontinuous at its `threshold`"
        ):
            self.bound(layers.ReLU(threshold=1.0), 2)

    def test_activation_without_a_bound_is_refused(self):
        for name in "exponential", "log_softmax", "glu":
            with self.assertRaisesRegex(ValueError, f"activation '{name}'"):
                self.bound(layers.Activation(name), 2)

    @parameterized.named_parameters(
        ("layer", lambda: layers.Softmax(), (4,), -1),
        ("activation", lambda: layers.Activation("softmax"), (3, 4), -1),
        ("first_axis", lambda: layers.Softmax(axis=1), (4, 3), 1),
        ("counted_from_the_end", lambda: layers.Softmax(axis=-2), (4, 3), 1),
    )
    def test_softmax_moves_by_a_half(self, make, shape, axis):
        model = self.make_model(make(), *shape)
        for norm in "l2", "linf":
            self.assertEqual(lipschitz_bound(model, norm), 0.5)
        x = self.normal(8, *shape, scale=3.0)
        powers = np.exp(x.astype("float64"))
        expected = powers / powers.sum(axis=axis, keepdims=True)
        self.assertAllClose(freeze(model).run(x), expected)
        self.assertAllClose(freeze(model).run(x), model(x))
        self.assertLipschitz(model, shape, 0.5)
        # Between two classes of the same chance it moves by all of it.
        x = np.full((2, *shape), -50.0)
        pair = np.moveaxis(x, axis, -1)[..., :2]
        pair[...] = 0.0
        pair[1, ..., 0], pair[1, ..., 1] = 1e-4, -1e-4
        before, after = freeze(model).run(x)
        stretch = np.linalg.norm(after - before) / np.linalg.norm(x[1] - x[0])
        self.assertAlmostEqual(stretch, 0.5, delta=1e-6)

    @parameterized.parameters([0], [(1, 2)])
    def test_softmax_along_samples_or_several_axes_is_refused(self, axis):
        with self.assertRaisesRegex(ValueError, "No Lipschitz bound is known"):
            self.bound(layers.Softmax(axis=axis), 4, 3)

    def test_activation_counts_with_what_comes_before(self):
        bound = propagate_bound(layers.LeakyReLU(negative_slope=2.0), 3.0)
        self.assertEqual(bound, 6.0)
        self.assertEqual(propagate_bound(layers.Activation("tanh"), 3.0), 3.0)

    @parameterized.named_parameters(
        ("dropout", layers.Dropout, (4,)),
        ("spatial_dropout_1d", layers.SpatialDropout1D, (3, 2)),
        ("spatial_dropout_2d", layers.SpatialDropout2D, (3, 2, 2)),
        ("spatial_dropout_3d", layers.SpatialDropout3D, (3, 2, 2, 2)),
        ("gaussian_noise", layers.GaussianNoise, (4,)),
        ("gaussian_dropout", layers.GaussianDropout, (4,)),
        ("alpha_dropout", layers.AlphaDropout, (4,)),
        ("random_rotation", layers.RandomRotation, (4, 4, 1)),
        ("random_zoom", layers.RandomZoom, (4, 4, 1)),
        ("random_contrast", layers.RandomContrast, (4, 4, 1)),
    )
    def test_noise_is_the_identity_at_inference(self, layer_cls, shape):
        model = self.make_model(layer_cls(0.9), *shape)
        x = self.normal(8, *shape)
        self.assertAllClose(model(x, training=False), x, atol=0, rtol=0)
        self.assertEqual(lipschitz_bound(model), 1.0)

    def test_activity_regularization_is_the_identity(self):
        layer = layers.ActivityRegularization(l2=1.0)
        self.assertEqual(self.bound(layer, 3), 1.0)

    def test_masking_of_zeros_is_the_identity(self):
        model = self.make_model(layers.Masking(), 3, 2)
        x = self.normal(8, 3, 2)
        x[:, 1] = 0.0
        self.assertAllClose(model(x), x, atol=0, rtol=0)
        self.assertEqual(lipschitz_bound(model), 1.0)

    def test_masking_of_other_numbers_is_refused(self):
        with self.assertRaisesRegex(ValueError, "sets entries equal to"):
            self.bound(layers.Masking(1.0), 3, 2)

    @parameterized.named_parameters(
        ("pooling", layers.GlobalAveragePooling1D),
        ("softmax", layers.Softmax),
        ("time_distributed", lambda: layers.TimeDistributed(layers.Dense(2))),
    )
    def test_layer_that_may_heed_a_mask_is_refused(self, make):
        inputs = keras.Input((3, 2))
        outputs = make()(layers.Masking()(inputs))
        # Keras computes the mask in operations of the graph.
        with self.assertRaisesRegex(ValueError, "use the mask|`NotEqual`"):
            lipschitz_bound(keras.Model(inputs, outputs))
        outputs = layers.Dense(2)(layers.Masking()(inputs))
        lipschitz_bound(keras.Model(inputs, outputs))
