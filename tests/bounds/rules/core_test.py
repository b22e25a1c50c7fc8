import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.bounds import lipschitz_bound
from tests.bounds.rules.rule_test_case import RuleTestCase
from tests.lipschitz_test_case import to_numpy


class CoreTest(RuleTestCase):
    @parameterized.named_parameters(
        ("tall", (7,), 3),
        ("wide", (3,), 7),
        ("square", (5,), 5),
        ("of_sequences", (4, 3), 2),
        ("of_images", (2, 2, 3), 5),
    )
    def test_bound_is_the_norm_of_the_matrix(self, shape, units):
        layer = layers.Dense(
            units, kernel_initializer=self.draw, bias_initializer=self.draw
        )
        model = self.make_model(layer, *shape)
        self.assertBounded(model, slack=1e-5)

    def test_bound_is_of_the_weights_that_now_run(self):
        layer = layers.Dense(3, use_bias=False)
        model = self.make_model(layer, 3)
        layer.set_weights([2 * np.eye(3)])
        self.assertAlmostEqual(lipschitz_bound(model), 2.0, delta=1e-12)
        layer.set_weights([-3 * np.eye(3)])
        self.assertAlmostEqual(lipschitz_bound(model), 3.0, delta=1e-12)

    def test_lora_weights_count(self):
        layer = layers.Dense(4, kernel_initializer="zeros")
        model = self.make_model(layer, 3)
        layer.enable_lora(2, lora_alpha=8)
        layer.lora_kernel_b.assign(self.normal(2, 4))
        self.assertGreater(lipschitz_bound(model), 1.0)
        self.assertBounded(model, slack=1e-5)

    def test_kernel_is_rounded_as_it_runs(self):
        # In bfloat16 a kernel of 1.0039 is 1.0078125.
        layer = layers.Dense(1, use_bias=False, dtype="mixed_bfloat16")
        model = self.make_model(layer, 1)
        layer.set_weights([np.array([[1.0059]])])
        self.assertEqual(to_numpy(model(np.ones((1, 1))))[0, 0], 1.0078125)
        self.assertAlmostEqual(lipschitz_bound(model), 1.0078125, delta=1e-12)

    def test_activation_counts(self):
        layer = layers.Dense(3, kernel_initializer="identity")
        layer.activation = layers.Activation("sigmoid").activation
        self.assertAlmostEqual(self.bound(layer, 3), 0.25, delta=1e-12)
