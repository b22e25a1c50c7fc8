import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip.autodiff import gradient
from keras_lip.linalg import power_iteration
from keras_lip.models import materialize
from keras_lip.operators import DenseOperator
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class ConvexPotentialDenseTest(LipschitzTestCase):
    @parameterized.parameters((3, "relu"), (5, "leaky_relu"), (8, "tanh"))
    def test_contract(self, hidden_units, activation):
        self.run_lipschitz_layer_test(
            layers.ConvexPotentialDense,
            init_kwargs={
                "hidden_units": hidden_units,
                "activation": activation,
            },
            input_shape=(5,),
            expected_output_shape=(5,),
        )

    def test_contract_with_every_argument(self):
        self.run_lipschitz_layer_test(
            layers.ConvexPotentialDense,
            init_kwargs={
                "hidden_units": 4,
                "kernel_initializer": "he_normal",
                "bias_initializer": "ones",
                "kernel_regularizer": "l2",
                "bias_regularizer": "l1",
            },
            input_shape=(2, 6),
            expected_output_shape=(2, 6),
        )

    def test_contract_with_a_fixed_step(self):
        # Short enough at birth, and too long after the step of the optimizer.
        self.run_lipschitz_layer_test(
            layers.ConvexPotentialDense,
            init_kwargs={"hidden_units": 4, "step": 0.1},
            input_shape=(5,),
            expected_output_shape=(5,),
            expected_bound=None,
        )

    @parameterized.parameters(1e-3, 0.5, 2.0, 100.0)
    def test_bound_with_a_fixed_step_is_exact(self, step):
        # With all units of a convex potential active, or none, the Jacobian is
        # `I - h W W^T` or `I`.
        layer = layers.ConvexPotentialDense(6, activation="linear", step=step)
        layer.build((None, 5))
        layer.kernel.assign(self.normal(5, 6))
        outputs = to_numpy(layer(np.eye(5)))
        kernel = to_numpy(layer.kernel).astype("float64")
        jacobian = np.eye(5) - np.float32(step) * kernel @ kernel.T
        self.assertAllClose(outputs, jacobian, 1e-5, 1e-5)
        exact = max(1.0, np.linalg.norm(jacobian, 2))
        bound = layer.lipschitz_bound()
        self.assertBetween(bound, exact - 1e-13 * exact, exact * (1 + 1e-12))
        for proven in (True, False):
            stock = layer.to_keras_layer(proven=proven)
            self.assertAllClose(stock(np.eye(5)), outputs, 1e-5, 1e-5)

    @parameterized.parameters(0.25, 0.5, 1.0)
    def test_step_is_a_fraction_of_the_longest(self, fraction):
        layer = layers.ConvexPotentialDense(
            5, activation="linear", step_fraction=fraction
        )
        layer.build((None, 5))
        kernel = np.diag([2.0, 1.5, 1.0, 0.5, 0.0])
        layer.kernel.assign(kernel)
        self.assertAllClose(layer.compute_step(), fraction * 2 / 2.0**2)
        jacobian = np.eye(5) - fraction / 2 * kernel @ kernel
        self.assertAllClose(layer(np.eye(5)), jacobian, 1e-6)
        for proven in (True, False):
            stock = layer.to_keras_layer(proven=proven)
            self.assertAllClose(stock(np.eye(5)), jacobian, 1e-6)

    def test_bound_with_a_fraction_is_one_despite_a_bad_estimate(self):
        # The estimate is 2 where the norm is 2.1: too small by more than a
        # whole step allows.
        bounds = []
        for fraction in (1.0, 0.9):
            layer = layers.ConvexPotentialDense(
                2, activation="linear", step_fraction=fraction
            )
            layer.build((None, 2))
            layer.kernel.assign(np.diag([2.1, 2.0]))
            layer.power_iteration_vector.assign([[0.0, 1.0]])
            bounds.append(layer.lipschitz_bound())
        self.assertAlmostEqual(bounds[0], 2.1**2 / 2 - 1, delta=1e-6)
        self.assertEqual(bounds[1], 1.0)

    def test_bound_counts_a_fraction_that_is_not_short_enough(self):
        layer = layers.ConvexPotentialDense(
            2, activation="linear", step_fraction=0.9
        )
        layer.build((None, 2))
        layer.kernel.assign(np.diag([2.0, 1.0]))
        layer.power_iteration_vector.assign([[0.0, 1.0]])
        exact = 0.9 * 2.0 * 4 - 1
        self.assertAllClose(layer(np.eye(2))[0, 0], -exact, 1e-6)
        self.assertGreaterEqual(layer.lipschitz_bound(), exact * (1 - 1e-7))
        self.assertAlmostEqual(layer.lipschitz_bound(), exact, delta=1e-6)

    def test_contract_with_a_fraction(self):
        self.run_lipschitz_layer_test(
            layers.ConvexPotentialDense,
            init_kwargs={"hidden_units": 4, "step_fraction": 0.5},
            input_shape=(5,),
            expected_output_shape=(5,),
        )

    def test_config_without_a_fraction_takes_the_whole_step(self):
        config = layers.ConvexPotentialDense(4).get_config()
        del config["step_fraction"]
        layer = layers.ConvexPotentialDense.from_config(config)
        self.assertEqual(layer.step_fraction, 1.0)

    def test_fixed_step_needs_no_estimate(self):
        layer = layers.ConvexPotentialDense(6, step=1.0)
        layer.build((None, 5))
        self.assertEqual(layer.non_trainable_weights, [layer.fixed_step])
        layer.kernel.assign(1e-3 * self.normal(5, 6))
        self.assertEqual(layer.lipschitz_bound(), 1.0)

    def test_fixed_step_is_rounded_as_it_runs(self):
        layer = layers.ConvexPotentialDense(
            1, activation="linear", step=2.01, dtype="mixed_bfloat16"
        )
        layer.build((None, 1))
        layer.kernel.assign([[2.0]])
        # The next bfloat16 is 2.015625.
        exact = 4 * 2.015625 - 1
        self.assertBetween(layer.lipschitz_bound(), exact, exact + 1e-12)

    def test_outputs_are_those_of_the_paper(self):
        layer = layers.ConvexPotentialDense(7, bias_initializer="random_normal")
        x = self.normal(4, 5)
        outputs = layer(x)
        kernel = to_numpy(layer.kernel).astype("float64")
        norm = np.linalg.norm(kernel, 2)
        hidden = np.maximum(x @ kernel + to_numpy(layer.bias), 0)
        expected = x - 2 / norm**2 * hidden @ kernel.T
        self.assertAllClose(outputs, expected, 1e-5)

    @parameterized.parameters(1e-15, 0.02, 1.0, 20.0, 1e8)
    def test_bound_holds_at_every_scale(self, scale):
        layer = layers.ConvexPotentialDense(6)
        layer.build((None, 5))
        layer.kernel.assign(self.normal(5, 6) * scale)
        self.assertAlmostEqual(layer.lipschitz_bound(), 1.0, delta=1e-4)

    def test_zero_kernel_is_the_identity(self):
        layer = layers.ConvexPotentialDense(6, kernel_initializer="zeros")
        x = self.normal(3, 5)
        self.assertAllClose(layer(x), x, 0, 0)
        self.assertEqual(layer.lipschitz_bound(), 1.0)
        vector = to_numpy(layer.power_iteration_vector)
        self.assertGreater(np.abs(vector).max(), 0)

    def test_bound_sees_a_direction_that_the_estimate_misses(self):
        # The stored vector is orthogonal to the dominant direction, and stays
        # so: the step that runs is four times too long.
        layer = layers.ConvexPotentialDense(2, activation="linear")
        layer.build((None, 2))
        layer.kernel.assign(np.diag([2.0, 1.0]))
        layer.power_iteration_vector.assign([[0.0, 1.0]])
        self.assertAllClose(layer(np.eye(2)), np.diag([-7.0, -1.0]))
        self.assertAllClose(layer.lipschitz_bound(), 7.0)
        self.assertGreaterEqual(layer.lipschitz_bound(), 7.0)

        stock = layer.to_keras_layer(proven=False)
        self.assertAllClose(stock(np.eye(2)), np.diag([-7.0, -1.0]))
        proven = layer.to_keras_layer(proven=True)
        self.assertAllClose(proven(np.eye(2)), np.diag([-1.0, 0.5]))

    def test_materialized_step_is_never_too_long(self):
        layer = layers.ConvexPotentialDense(9)
        layer.build((None, 7))
        for _ in range(5):
            layer.kernel.assign(self.normal(7, 9))
            stock = layer.to_keras_layer(proven=True)
            (scale,) = (
                each
                for each in stock.layers
                if isinstance(each, keras.layers.Rescaling)
            )
            largest = self.singular_values(layer.kernel).max()
            self.assertLessEqual(-scale.scale * largest**2, 2.0)
            self.assertEqual(np.float32(scale.scale), scale.scale)

    def test_vector_moves_in_training_alone(self):
        layer = layers.ConvexPotentialDense(6)
        model = keras.Sequential(
            [keras.Input((5,)), layer, keras.layers.Dense(5)]
        )
        model.compile("sgd", "mse")
        x = self.normal(8, 5)
        start = to_numpy(layer.power_iteration_vector).copy()
        model.predict(x, verbose=0)
        model.evaluate(x, x, verbose=0)
        layer(x)
        self.assertAllClose(layer.power_iteration_vector, start, 0, 0)
        model.fit(x, x, verbose=0)
        moved = to_numpy(layer.power_iteration_vector).copy()
        self.assertGreater(np.abs(moved - start).max(), 1e-3)

        layer.trainable = False
        model.compile("sgd", "mse")
        model.fit(x, x, verbose=0)
        self.assertAllClose(layer.power_iteration_vector, moved, 0, 0)

    def test_vector_survives_saving(self):
        model = keras.Sequential(
            [keras.Input((5,)), layers.ConvexPotentialDense(6)]
        )
        model.compile("sgd", "mse")
        model.fit(self.normal(8, 5), self.normal(8, 5), verbose=0)
        vector = model.layers[0].power_iteration_vector
        path = self.temporary_path("model.keras")
        model.save(path)
        restored = keras.models.load_model(path).layers[0]
        self.assertAllClose(restored.power_iteration_vector, vector, 0, 0)

        path = self.temporary_path("model.weights.h5")
        model.save_weights(path)
        fresh = keras.Sequential(
            [keras.Input((5,)), layers.ConvexPotentialDense(6)]
        )
        fresh.load_weights(path)
        self.assertAllClose(
            fresh.layers[0].power_iteration_vector, vector, 0, 0
        )

    def test_stateless_call_returns_the_next_vector(self):
        if keras.backend.backend() != "jax":
            self.skipTest("`stateless_call` is how JAX programs run a layer.")
        layer = layers.ConvexPotentialDense(6)
        layer.build((None, 5))
        before = to_numpy(layer.power_iteration_vector).copy()
        weights = [w.value for w in layer.trainable_variables]
        state = [w.value for w in layer.non_trainable_variables]
        x = self.normal(3, 5)
        _, moved = layer.stateless_call(weights, state, x, training=True)
        _, kept = layer.stateless_call(weights, state, x, training=False)
        self.assertGreater(np.abs(to_numpy(moved[0]) - before).max(), 1e-3)
        self.assertAllClose(kept[0], before, 0, 0)
        self.assertAllClose(layer.power_iteration_vector, before, 0, 0)

    def test_training_steps_track_the_norm(self):
        layer = layers.ConvexPotentialDense(6)
        layer.build((None, 5))
        for _ in range(200):
            step = layer.compute_step(training=True)
        largest = self.singular_values(layer.kernel).max()
        self.assertAllClose(step, 2 / largest**2, rtol=1e-4)

    def test_gradient_ignores_the_scale_of_the_kernel(self):
        # Without bias the outputs do not depend on the scale of `W`, so the
        # gradient is orthogonal to `W`; it would not be, were the norm taken
        # for a constant.
        layer = layers.ConvexPotentialDense(6)
        layer.build((None, 5))
        x = ops.convert_to_tensor(self.normal(64, 5))

        def loss(kernel):
            hidden = ops.relu(ops.matmul(x, kernel))
            vector = ops.convert_to_tensor(layer.power_iteration_vector)
            norm, _ = power_iteration(DenseOperator(), kernel, vector, 100)
            descent = ops.matmul(hidden, ops.transpose(kernel))
            return ops.sum(ops.square(x - 2 / ops.square(norm) * descent))

        kernel = ops.convert_to_tensor(self.normal(5, 6))
        direction = to_numpy(gradient(loss, kernel))
        inner = np.sum(direction * to_numpy(kernel))
        self.assertLess(abs(inner), 1e-3 * np.linalg.norm(direction))

    def test_stock_model_holds_no_library_layer(self):
        layer = layers.ConvexPotentialDense(6)
        model = keras.Sequential([keras.Input((5,)), layer])
        self.assertStock(materialize(model))

    def test_invalid_arguments_are_refused(self):
        for units in (0, 1.5):
            with self.assertRaisesRegex(ValueError, "`hidden_units` must be"):
                layers.ConvexPotentialDense(units)
        for activation in ("gelu", "silu", "selu"):
            with self.assertRaisesRegex(ValueError, "non-decreasing.*'tanh'"):
                layers.ConvexPotentialDense(3, activation=activation)
        for step in (0.0, -1.0, float("nan"), 1e39, "long"):
            with self.assertRaisesRegex(ValueError, "`step` must be"):
                layers.ConvexPotentialDense(3, step=step)
        for fraction in (0.0, 1.5, float("nan"), "half"):
            with self.assertRaisesRegex(ValueError, "`step_fraction` must be"):
                layers.ConvexPotentialDense(3, step_fraction=fraction)
        with self.assertRaisesRegex(ValueError, "Give one of them.*=0.5"):
            layers.ConvexPotentialDense(3, step=1.0, step_fraction=0.5)
        with self.assertRaisesRegex(ValueError, "must have a known size"):
            layers.ConvexPotentialDense(3).build((None, None))
