import itertools

import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip.autodiff import gradient
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

# What rounding to float32 may add to a bound of one.
ROUNDINGS = 1e-5


class SLLDenseTest(LipschitzTestCase):
    @parameterized.parameters((3, "relu"), (8, "tanh"))
    def test_contract(self, hidden_units, activation):
        self.run_lipschitz_layer_test(
            layers.SLLDense,
            init_kwargs={
                "hidden_units": hidden_units,
                "activation": activation,
                "bias_initializer": "ones",
            },
            input_shape=(5,),
            expected_output_shape=(5,),
        )

    def test_contract_with_every_argument(self):
        self.run_lipschitz_layer_test(
            layers.SLLDense,
            init_kwargs={
                "hidden_units": 4,
                "activation": keras.activations.softplus,
                "kernel_initializer": "he_normal",
                "bias_initializer": "ones",
                "kernel_regularizer": "l2",
                "bias_regularizer": "l1",
            },
            input_shape=(2, 6),
            expected_output_shape=(2, 6),
        )

    def make_layer(self, kernel, log_scale=None, **kwargs):
        rows, columns = kernel.shape
        layer = layers.SLLDense(columns, **kwargs)
        layer.build((None, rows))
        layer.kernel.assign(kernel)
        layer.bias.assign(self.normal(columns))
        if log_scale is not None:
            layer.log_scale.assign(log_scale)
        return layer

    def paper_diagonal(self, layer):
        """Returns `t` in float64, from the formula of the paper."""
        kernel = to_numpy(layer.kernel).astype("float64")
        exponent = to_numpy(layer.log_scale).astype("float64")
        q = np.exp(10 * exponent / (10 + np.abs(exponent)))
        return np.sum(np.abs(kernel.T @ kernel) * q / q[:, None], axis=1)

    def test_outputs_are_those_of_the_paper(self):
        layer = self.make_layer(self.normal(5, 7), self.normal(7))
        x = self.normal(4, 5)
        kernel = to_numpy(layer.kernel).astype("float64")
        hidden = np.maximum(x @ kernel + to_numpy(layer.bias), 0)
        expected = x - 2 * (hidden / self.paper_diagonal(layer)) @ kernel.T
        self.assertAllClose(layer(x), expected, 1e-5)

    def test_scales_count(self):
        kernel, x = self.normal(5, 4), self.normal(8, 5)
        plain = self.make_layer(kernel)
        scaled = self.make_layer(kernel, [3.0, 0.0, -3.0, 1.0])
        scaled.bias.assign(plain.bias)
        self.assertGreater(np.abs(to_numpy(scaled(x) - plain(x))).max(), 0.01)

    @parameterized.parameters(0.0, 1.0, 5.0, 1e3, 1e30)
    def test_bound_is_above_the_jacobian_of_every_pattern(self, spread):
        layer = self.make_layer(self.normal(4, 5), self.normal(5, scale=spread))
        kernel, back = (
            to_numpy(kernel).astype("float64")
            for kernel in layer.compute_kernels()
        )
        bound = layer.lipschitz_bound()
        self.assertAlmostEqual(bound, 1.0, delta=ROUNDINGS)
        patterns = [*itertools.product([0.0, 1.0], repeat=5)]
        patterns += [*self.rng.uniform(size=(50, 5))]
        for slopes in patterns:
            jacobian = np.eye(4) - kernel * slopes @ back.T
            self.assertLessEqual(np.linalg.norm(jacobian, 2), bound + 1e-14)

    def test_bound_is_reached(self):
        # One hidden unit, or several that are parallel, reflect their input.
        for kernel in (np.array([[3.0], [4.0]]), np.array([[1.0, 2.0]])):
            layer = self.make_layer(kernel, activation="linear")
            rows = len(kernel)
            jacobian = to_numpy(
                layer(np.eye(rows)) - layer(np.zeros((rows, rows)))
            )
            norms = np.linalg.eigvalsh(jacobian.astype("float64"))
            self.assertAlmostEqual(norms.min(), -1.0, delta=1e-5)

    def test_bound_sees_a_step_that_is_too_long(self):
        layer = self.make_layer(self.normal(4, 3), activation="linear")
        kernel, back = layer.compute_kernels()
        kernels = kernel, 3.0 * back
        self.plant(layers.SLLDense, "compute_kernels", lambda layer: kernels)
        difference = layer(np.eye(4)) - layer(np.zeros((4, 4)))
        norm = self.singular_values(difference).max()
        self.assertGreater(norm, 1.5)
        self.assertAlmostEqual(layer.lipschitz_bound(), norm, delta=1e-4)

    @parameterized.parameters(0.2, 1e10, 1e20)
    def test_scale_of_the_kernel_does_not_matter(self, scale):
        kernel, x = self.normal(5, 4), self.normal(8, 5)
        layer = self.make_layer(kernel)
        layer.bias.assign(np.zeros(4))
        expected = to_numpy(layer(x)).copy()
        layer.kernel.assign(kernel * scale)
        self.assertAllClose(layer(x), expected, 1e-4, 1e-4)
        self.assertAlmostEqual(layer.lipschitz_bound(), 1.0, delta=ROUNDINGS)

    @parameterized.parameters(0.0, 1e-30, 1e-10, 0.01)
    def test_steps_of_small_kernels_are_200(self, scale):
        kernel, x = self.normal(5, 4, scale=scale), self.normal(8, 5)
        layer = self.make_layer(kernel)
        layer.bias.assign(np.ones(4))
        _, back = layer.compute_kernels()
        self.assertAllClose(back, 200 * kernel, 0, 1e-5)
        exact = x - 200 * np.maximum(x @ kernel + 1, 0) @ kernel.T
        self.assertAllClose(layer(x), exact, 1e-5)
        self.assertAlmostEqual(layer.lipschitz_bound(), 1.0, delta=ROUNDINGS)

    def test_each_unit_has_a_floor_of_its_own(self):
        # `T` is `(4, 0.01)`, of columns of norm 2 and 0.01.
        layer = self.make_layer(np.diag([2.0, 0.01]))
        _, back = layer.compute_kernels()
        self.assertAllClose(back, np.diag([1.0, 2.0]))

    @parameterized.parameters(0.0, 1e-38, 1e-30, 1e-20, 1.0, 1e18)
    def test_outputs_and_gradients_are_finite(self, scale):
        kernel = self.normal(5, 4)
        kernel[:, 1] = 0.0
        layer = self.make_layer(kernel * np.float32(scale))
        x = ops.convert_to_tensor(self.normal(8, 5))
        self.assertAlmostEqual(layer.lipschitz_bound(), 1.0, delta=ROUNDINGS)

        class Direct:
            """A stand-in for a variable: a tensor to differentiate by."""

        def loss(kernel):
            # The layer's own computation, on a tensor in the weight's place.
            stand_in = Direct()
            stand_in.kernel, stand_in.log_scale = kernel, layer.log_scale
            kernel, back = layers.SLLDense.compute_kernels(stand_in)
            hidden = ops.relu(ops.matmul(x, kernel) + 1.0)
            return ops.square(x - ops.matmul(hidden, ops.transpose(back)))

        kernel = ops.convert_to_tensor(to_numpy(layer.kernel))
        self.assertTrue(np.isfinite(to_numpy(layer(x))).all())
        self.assertTrue(np.isfinite(to_numpy(gradient(loss, kernel))).all())

    def test_zero_kernel_is_the_identity(self):
        layer = self.make_layer(np.zeros((5, 4)))
        x = self.normal(3, 5)
        self.assertAllClose(layer(x), x, 0, 0)
        self.assertEqual(layer.lipschitz_bound(), 1.0)

    def test_bound_in_mixed_precision_is_of_the_kernel_that_runs(self):
        kernel = np.tile(self.normal(6, 1), (1, 3))
        layer = self.make_layer(
            kernel, activation="linear", dtype="mixed_bfloat16"
        )
        kernel, back = (
            to_numpy(ops.cast(kernel, "bfloat16")).astype("float64")
            for kernel in layer.compute_kernels()
        )
        norm = np.linalg.norm(np.eye(6) - kernel @ back.T, 2)
        self.assertNotAlmostEqual(norm, 1.0, delta=1e-4)
        bound = layer.lipschitz_bound()
        self.assertGreaterEqual(bound, norm)
        self.assertAlmostEqual(bound, norm, delta=0.02)

    def test_weights_that_are_not_finite_have_no_bound(self):
        for value in (np.inf, np.nan):
            layer = self.make_layer(np.full((3, 2), value))
            self.assertEqual(layer.lipschitz_bound(), np.inf)

    def test_invalid_arguments_are_refused(self):
        for units in (0, 1.5):
            with self.assertRaisesRegex(ValueError, "`hidden_units` must be"):
                layers.SLLDense(units)
        for activation in ("gelu", "silu", "selu"):
            with self.assertRaisesRegex(ValueError, "non-decreasing.*'tanh'"):
                layers.SLLDense(3, activation=activation)
        with self.assertRaisesRegex(ValueError, "must have a known size"):
            layers.SLLDense(3).build((None, None))
