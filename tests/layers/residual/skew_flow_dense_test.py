import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

FLOWS = ("midpoint", "exponential")


class SkewFlowDenseTest(LipschitzTestCase):
    @parameterized.parameters(*FLOWS)
    def test_contract(self, flow):
        self.run_lipschitz_layer_test(
            layers.SkewFlowDense,
            init_kwargs={
                "hidden_units": 4,
                "flow": flow,
                "activation": "tanh",
                "generator_initializer": "glorot_uniform",
                "generator_regularizer": "l2",
                "kernel_regularizer": "l1",
            },
            input_shape=(2, 5),
            expected_output_shape=(2, 5),
        )

    @parameterized.parameters(*FLOWS)
    def test_outputs_are_those_of_two_half_steps(self, flow):
        layer = layers.SkewFlowDense(
            4, flow=flow, bias_initializer="random_normal"
        )
        x = self.normal(3, 5)
        outputs = layer(x)
        kernel = to_numpy(layer.potential.kernel).astype("float64")
        step = 2 / np.linalg.norm(kernel, 2) ** 2
        hidden = np.maximum(x @ kernel + to_numpy(layer.potential.bias), 0)
        halfway = x - step * hidden @ kernel.T
        generator = to_numpy(layer.rotation.free_kernel).astype("float64")
        half = generator - generator.T  # `A / 2`, up to the sign.
        identity = np.eye(5)
        if flow == "midpoint":
            # The next state solves z = y + A (y + z) / 2, in rows of states.
            after = halfway @ (identity - half)
            expected = np.linalg.solve((identity + half).T, after.T).T
        else:
            frequencies, modes = np.linalg.eigh(half / 1j)
            flowed = (modes * np.exp(1j * frequencies)) @ modes.conj().T
            expected = halfway @ flowed.real
        self.assertAllClose(outputs, expected, 1e-5)

    @parameterized.parameters(*FLOWS)
    def test_second_step_preserves_the_norm(self, flow):
        layer = layers.SkewFlowDense(4, flow=flow, kernel_initializer="zeros")
        x = self.normal(3, 5)
        outputs = to_numpy(layer(x))
        self.assertGreater(np.abs(outputs - x).max(), 0.1)
        self.assertAllClose(
            np.linalg.norm(outputs, axis=1), np.linalg.norm(x, axis=1), 1e-5
        )

    @parameterized.parameters(*FLOWS)
    def test_zero_generator_leaves_the_first_step(self, flow):
        layer = layers.SkewFlowDense(
            4, flow=flow, generator_initializer="zeros"
        )
        x = self.normal(3, 5)
        self.assertAllClose(layer(x), layer.potential(x))

    def test_bound_is_that_of_a_step_that_is_too_long(self):
        layer = layers.SkewFlowDense(4, step=3.0, activation="linear")
        layer.build((None, 5))
        layer.potential.kernel.assign(np.eye(5, 4))
        self.assertAllClose(layer.lipschitz_bound(), 2.0, 1e-5)
        values = self.singular_values(layer(np.eye(5, dtype="float32")))
        self.assertAllClose(values.max(), 2.0, 1e-5)
        # That of the second step counts as well.
        kernel = 1.5 * to_numpy(layer.rotation.kernel)
        self.plant(type(layer.rotation), "kernel", kernel)
        self.assertAllClose(layer.lipschitz_bound(), 3.0, 1e-5)
        values = self.singular_values(layer(np.eye(5, dtype="float32")))
        self.assertAllClose(values.max(), 3.0, 1e-5)

    def test_materialized_step_is_proven_short_enough(self):
        # The stored vector misses the dominant direction, and stays so: the
        # step that runs is four times too long.
        layer = layers.SkewFlowDense(2, activation="linear")
        layer.build((None, 2))
        layer.potential.kernel.assign(np.diag([2.0, 1.0]))
        layer.potential.power_iteration_vector.assign([[0.0, 1.0]])
        self.assertAllClose(layer.lipschitz_bound(), 7.0, 1e-5)
        for proven, norm in ((False, 7.0), (True, 1.0)):
            stock = layer.to_keras_layer(proven=proven)
            values = self.singular_values(stock(np.eye(2, dtype="float32")))
            self.assertAllClose(values.max(), norm, 1e-5)

    def test_layer_may_be_frozen_from_the_start(self):
        layer = layers.SkewFlowDense(4, trainable=False)
        model = keras.Sequential([keras.Input((5,)), layer])
        self.assertFalse(layer.potential.trainable)
        self.assertFalse(layer.rotation.trainable)
        vector = to_numpy(layer.potential.power_iteration_vector).copy()
        model(self.normal(3, 5), training=True)
        self.assertAllClose(
            layer.potential.power_iteration_vector, vector, 0, 0
        )

    def test_vector_moves_in_training(self):
        layer = layers.SkewFlowDense(4)
        x = self.normal(3, 5)
        layer(x)
        vector = to_numpy(layer.potential.power_iteration_vector).copy()
        layer(x, training=True)
        moved = to_numpy(layer.potential.power_iteration_vector)
        self.assertGreater(np.abs(moved - vector).max(), 1e-3)

    def test_inputs_without_units_are_refused(self):
        layer = layers.SkewFlowDense(2)
        with self.assertRaisesRegex(
            ValueError, f"{layer.name}.*expected min_ndim=2"
        ):
            layer(np.ones(3))

    def test_invalid_arguments_are_refused(self):
        with self.assertRaisesRegex(ValueError, "Unknown flow: 'euler'"):
            layers.SkewFlowDense(3, flow="euler")
        with self.assertRaisesRegex(ValueError, "`hidden_units` must be"):
            layers.SkewFlowDense(0)
        with self.assertRaisesRegex(ValueError, "arguments.*'units'"):
            layers.SkewFlowDense(3, units=3)
        with self.assertRaisesRegex(ValueError, "must have a known size"):
            layers.SkewFlowDense(3).build((None, None))
