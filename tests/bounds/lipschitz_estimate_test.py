import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.bounds import lipschitz_bound
from keras_lip.bounds import lipschitz_estimate as lipschitz_estimate
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class LipschitzEstimateTest(LipschitzTestCase):
    @parameterized.named_parameters(("tall", 8, 3), ("wide", 3, 8))
    def test_linear_map_is_measured(self, input_dim, units):
        model = keras.Sequential(
            [keras.Input((input_dim,)), layers.Dense(units)]
        )
        exact = self.singular_values(model.layers[0].kernel).max()
        estimate = lipschitz_estimate(model, self.normal(2, input_dim))
        self.assertIsInstance(estimate, float)
        self.assertAlmostEqual(estimate / exact, 1.0, delta=1e-3)
        self.assertLessEqual(estimate, exact * (1 + 1e-5))

    def test_map_of_many_outputs_is_found_by_search(self):
        # More than 64 outputs: no Jacobian is computed.
        layer = layers.Conv1D(4, 3, padding="same", use_bias=False)
        model = keras.Sequential([keras.Input((20, 2)), layer])
        basis = np.eye(40, dtype="float32").reshape(40, 20, 2)
        exact = self.singular_values(to_numpy(model(basis)).reshape(40, -1))[0]
        estimate = lipschitz_estimate(model, self.normal(4, 20, 2), steps=100)
        self.assertGreater(estimate, 0.999 * exact)
        self.assertLessEqual(estimate, exact * (1 + 1e-5))
        self.assertLessEqual(exact, lipschitz_bound(model) * (1 + 1e-5))

    def test_steeper_side_of_a_kink_is_found(self):
        # The slope is 1 where the search starts and 5 on the other side.
        layer = layers.LeakyReLU(negative_slope=5.0)
        model = keras.Sequential([keras.Input((70,)), layer])
        inputs = np.full((1, 70), 0.5, dtype="float32")
        estimate = lipschitz_estimate(model, inputs)
        self.assertGreater(estimate, 2.0)
        self.assertLessEqual(estimate, 5.0 * (1 + 1e-5))

    def test_steep_place_is_found_if_it_is_given(self):
        layer = layers.Dense(1, activation="sigmoid", kernel_initializer="ones")
        model = keras.Sequential([keras.Input((1,)), layer])
        far, near = np.array([[30.0]]), np.array([[30.0], [0.0]])
        self.assertLess(lipschitz_estimate(model, far, steps=1), 0.1)
        estimate = lipschitz_estimate(model, near, steps=1)
        self.assertAlmostEqual(estimate, 0.25, delta=1e-3)

    def test_large_outputs_do_not_pass_for_a_slope(self):
        # Outputs of 1e5 are rounded to 1e-2, a tenth of the smaller step.
        layer = layers.Rescaling(1.0, offset=1e5)
        model = keras.Sequential([keras.Input((100,)), layer])
        estimate = lipschitz_estimate(model, self.normal(4, 100))
        self.assertLessEqual(estimate, 1.0)

    def test_large_inputs_do_not_pass_for_a_slope(self):
        model = keras.Sequential([keras.Input((3,)), layers.Rescaling(2.0)])
        inputs = 1e6 * (1.0 + self.normal(4, 3))
        estimate = lipschitz_estimate(model, inputs)
        self.assertAlmostEqual(estimate, 2.0, delta=1e-4)

    def test_constant_model_has_no_slope(self):
        model = keras.Sequential([keras.Input((3,)), layers.Rescaling(0.0)])
        self.assertEqual(lipschitz_estimate(model, self.normal(4, 3)), 0.0)

    def test_model_is_run_at_inference(self):
        stack = [keras.Input((100,)), layers.Dropout(0.9)]
        model = keras.Sequential(stack)
        estimate = lipschitz_estimate(model, self.normal(2, 100))
        self.assertAlmostEqual(estimate, 1.0, delta=1e-4)

    def test_subclassed_model_is_measured(self):
        class Double(keras.Model):
            def call(self, inputs):
                return 2.0 * inputs

        estimate = lipschitz_estimate(Double(), self.normal(2, 3))
        self.assertAlmostEqual(estimate, 2.0, delta=1e-3)

    def test_model_of_any_size_is_measured(self):
        inputs = keras.Input((None, None, 1))
        model = keras.Model(inputs, 3.0 * inputs)
        estimate = lipschitz_estimate(model, self.normal(2, 4, 3, 1))
        self.assertAlmostEqual(estimate, 3.0, delta=1e-3)

    def test_seed_makes_it_reproducible(self):
        layer = layers.Dense(70, activation="tanh")
        model = keras.Sequential([keras.Input((5,)), layer])
        inputs = self.normal(2, 5)
        first, again, other = (
            lipschitz_estimate(model, inputs, steps=1, seed=seed)
            for seed in (0, 0, 1)
        )
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    @parameterized.named_parameters(
        ("no_sample", np.zeros((0, 3))),
        ("no_number", np.array([[0.0, np.nan, 0.0]])),
        ("infinite", np.array([[0.0, np.inf, 0.0]])),
    )
    def test_bad_inputs_are_refused(self, inputs):
        model = keras.Sequential([keras.Input((3,)), layers.ReLU()])
        with self.assertRaisesRegex(
            ValueError, "at least one sample and only finite numbers"
        ):
            lipschitz_estimate(model, inputs)

    @parameterized.parameters(0, -1, 1.5, True)
    def test_bad_number_of_steps_is_refused(self, steps):
        model = keras.Sequential([keras.Input((3,)), layers.ReLU()])
        with self.assertRaisesRegex(ValueError, "`steps` must be a positive"):
            lipschitz_estimate(model, np.zeros((1, 3)), steps=steps)
