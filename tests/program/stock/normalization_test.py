import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.bounds import lipschitz_bound
from keras_lip.bounds import propagate_bound
from tests.lipschitz_test_case import to_numpy
from tests.program.stock.rule_test_case import RuleTestCase


class BatchNormalizationTest(RuleTestCase):
    @parameterized.named_parameters(
        ("full", {}),
        ("not_centered", {"center": False}),
        ("not_scaled", {"scale": False}),
        ("bare", {"center": False, "scale": False}),
        ("large_epsilon", {"epsilon": 0.5}),
        ("renormalized", {"renorm": True}),
    )
    def test_bound_is_the_largest_scale(self, kwargs):
        with self.needs_newer_keras():
            layer = layers.BatchNormalization(**kwargs)
        model = self.make_model(layer, 2, 5)
        self._disturb(layer)
        self.assertBounded(model, slack=1e-5)

    def test_other_axes_are_bounded(self):
        layer = layers.BatchNormalization(axis=1)
        model = self.make_model(layer, 3, 2)
        self._disturb(layer)
        self.assertBounded(model, slack=1e-5)

    def test_negative_scale_counts_as_its_magnitude(self):
        layer = layers.BatchNormalization(epsilon=0.0)
        model = self.make_model(layer, 2)
        layer.gamma.assign([-8.0, 1.0])
        layer.moving_variance.assign([4.0, 1.0])
        self.assertAlmostEqual(lipschitz_bound(model), 4.0, delta=1e-9)

    def test_bound_is_that_of_inference(self):
        # In training the batch is divided by its own deviation instead.
        layer = layers.BatchNormalization(momentum=0.0, epsilon=0.0)
        model = self.make_model(layer, 3)
        before = lipschitz_bound(model)
        model(self.normal(64, 3, scale=0.01), training=True)
        self.assertAlmostEqual(before, 1.0, delta=1e-9)
        self.assertGreater(lipschitz_bound(model), 50.0)
        self.assertBounded(model, slack=1e-4)

    @parameterized.named_parameters(
        ("no_variance", 0.0), ("negative_variance", -1.0), ("no_number", np.nan)
    )
    def test_scale_that_is_no_number_has_no_bound(self, variance):
        layer = layers.BatchNormalization(epsilon=0.0)
        model = self.make_model(layer, 2)
        layer.moving_variance.assign([1.0, variance])
        self.assertEqual(lipschitz_bound(model), np.inf)

    def _disturb(self, layer):
        for weight in layer.weights:
            values = self.normal(*weight.shape)
            if "variance" in weight.name:
                values = np.abs(values) + 0.01
            weight.assign(values)


class NormalizationTest(RuleTestCase):
    @parameterized.named_parameters(
        ("last_axis", {}, (4, 3)),
        ("first_axis", {"axis": 1}, (4, 3)),
        ("both_axes", {"axis": (1, 2)}, (4, 3)),
        ("no_axis", {"axis": None}, (4, 3)),
        ("inverted", {"invert": True}, (4, 3)),
    )
    def test_adapted_layer_is_bounded(self, kwargs, shape):
        layer = layers.Normalization(**kwargs)
        layer.adapt(self.normal(16, *shape, scale=3.0) + 5.0)
        model = self.make_model(layer, *shape)
        self.assertBounded(model, slack=1e-4)
        # Adapted again, it is bounded anew.
        layer.adapt(self.normal(16, *shape, scale=0.1))
        self.assertBounded(model, slack=1e-4)

    @parameterized.named_parameters(
        ("scalars", {"mean": 1.0, "variance": 0.04}, 5.0),
        ("lists", {"mean": [1.0, 2.0, 3.0], "variance": [9, 0.25, 1]}, 2.0),
        ("inverted", {"mean": 0.0, "variance": 9.0, "invert": True}, 3.0),
        ("no_axis", {"mean": 1.0, "variance": 0.25, "axis": None}, 2.0),
        (
            "inverted_lists",
            {"mean": [0, 0, 0], "variance": [1, 4, 9], "invert": True},
            3.0,
        ),
    )
    def test_given_statistics_are_bounded(self, kwargs, expected):
        model = self.make_model(layers.Normalization(**kwargs), 2, 3)
        self.assertAlmostEqual(lipschitz_bound(model), expected, delta=1e-6)
        self.assertBounded(model, slack=1e-5)

    def test_deviation_is_no_less_than_the_epsilon_of_keras(self):
        self.addCleanup(keras.config.set_epsilon, keras.config.epsilon())
        for epsilon in (1e-7, 1e-3):
            keras.config.set_epsilon(epsilon)
            layer = layers.Normalization(mean=0.0, variance=0.0)
            model = self.make_model(layer, 2)
            bound = lipschitz_bound(model)
            self.assertAlmostEqual(bound * epsilon, 1.0, delta=1e-6)
            self.assertBounded(model, slack=1e-5)
            layer = layers.Normalization(mean=0.0, variance=0.0, invert=True)
            self.assertBounded(self.make_model(layer, 2), slack=1e-5)

    @parameterized.named_parameters(("plain", False), ("inverted", True))
    def test_variance_that_is_no_number_has_no_bound(self, invert):
        for variance in (-1.0, np.nan):
            layer = layers.Normalization(
                mean=0.0, variance=variance, invert=invert
            )
            self.assertEqual(self.bound(layer, 2), np.inf)

    def test_layer_that_would_broadcast_is_refused(self):
        layer = layers.Normalization()
        self.make_model(layer, 3)
        model = self.make_model(layer, 1)
        self.assertEqual(to_numpy(model(np.ones((5, 1)))).shape, (5, 3))
        with self.assertRaisesRegex(ValueError, "must not broadcast its input"):
            lipschitz_bound(model)

    @parameterized.parameters(0, -2, ((0, 1),))
    def test_samples_that_are_scaled_differently_are_refused(self, axis):
        variance = np.ones((2, 3)) if axis == (0, 1) else [1.0, 1e-4]
        layer = layers.Normalization(
            axis=axis, mean=np.zeros_like(variance), variance=variance
        )
        inputs = keras.Input(batch_shape=(2, 3))
        with self.needs_newer_keras():
            model = keras.Model(inputs, layer(inputs))
        with self.assertRaisesRegex(ValueError, "scales the samples of a bat"):
            lipschitz_bound(model)


class RescalingTest(RuleTestCase):
    @parameterized.named_parameters(
        ("pixels", {"scale": 1 / 255}, 1 / 255),
        ("negative", {"scale": -2.0, "offset": 1.0}, 2.0),
        ("list", {"scale": [0.5, -3.0, 1.0]}, 3.0),
        ("offsets", {"scale": 2.0, "offset": [1.0, 2.0, 3.0]}, 2.0),
        ("array", {"scale": np.array([[2.0], [5.0]])}, 5.0),
        ("zero", {"scale": 0.0}, 0.0),
    )
    def test_bound_is_the_largest_scale(self, kwargs, expected):
        model = self.make_model(layers.Rescaling(**kwargs), 2, 3)
        self.assertAlmostEqual(lipschitz_bound(model), expected, delta=1e-9)
        self.assertBounded(model, slack=1e-5)

    def test_scale_counts_exact_and_as_it_is_rounded(self):
        # In bfloat16, 1.0059 is 1.0078125 and 1.009 is the same.
        for scale, expected in (1.0059, 1.0078125), (1.009, 1.009):
            layer = layers.Rescaling(scale, dtype="bfloat16")
            self.assertAlmostEqual(self.bound(layer, 1), expected, delta=1e-9)

    def test_scales_of_channels_that_come_first_are_bounded(self):
        data_format = keras.config.image_data_format()
        self.addCleanup(keras.config.set_image_data_format, data_format)
        keras.config.set_image_data_format("channels_first")
        layer = layers.Rescaling([1.0, 2.0, 4.0])
        self.assertBounded(self.make_model(layer, 3, 2, 2), slack=1e-5)
        # Of vectors it would make as many samples as there are channels.
        model = self.make_model(layer, 3)
        self.assertEqual(to_numpy(model(np.ones((5, 3)))).shape, (3, 5, 3))
        with self.assertRaisesRegex(ValueError, "must not broadcast its input"):
            lipschitz_bound(model)

    @parameterized.named_parameters(
        ("scale", {"scale": [1.0, 1.0, 1.0]}),
        ("offset", {"scale": 1.0, "offset": [0.0, 0.0, 0.0]}),
    )
    def test_layer_that_would_broadcast_is_refused(self, kwargs):
        model = self.make_model(layers.Rescaling(**kwargs), 1)
        self.assertEqual(to_numpy(model(np.ones((5, 1)))).shape, (5, 3))
        with self.assertRaisesRegex(ValueError, "must not broadcast its input"):
            lipschitz_bound(model)

    def test_scale_that_is_no_number_has_no_bound(self):
        for scale in (np.nan, np.inf, [1.0, np.nan]):
            layer = layers.Rescaling(scale)
            layer.build((None, 2))
            self.assertEqual(propagate_bound(layer, 1.0), np.inf)
