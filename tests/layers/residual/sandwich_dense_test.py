import itertools

import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip.parametrizations import Bjorck
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

# What rounding to float32 may add to a bound of one.
ROUNDINGS = 1e-5


class SandwichDenseTest(LipschitzTestCase):
    @parameterized.parameters((3, "relu", "cayley"), (8, "tanh", "qr"))
    def test_contract(self, units, activation, parametrization):
        self.run_lipschitz_layer_test(
            layers.SandwichDense,
            init_kwargs={
                "units": units,
                "activation": activation,
                "parametrization": parametrization,
                "bias_initializer": "ones",
            },
            input_shape=(5,),
            expected_output_shape=(units,),
        )

    def test_contract_with_every_argument(self):
        self.run_lipschitz_layer_test(
            layers.SandwichDense,
            init_kwargs={
                "units": 4,
                "activation": "softplus",
                "parametrization": Bjorck(iterations=20),
                "kernel_initializer": "he_normal",
                "bias_initializer": "ones",
                "kernel_regularizer": "l2",
                "bias_regularizer": "l1",
            },
            input_shape=(2, 6),
            expected_output_shape=(2, 4),
        )

    def make_layer(self, input_dim, units, spread=1.0, **kwargs):
        layer = layers.SandwichDense(units, **kwargs)
        layer.build((None, input_dim))
        layer.bias.assign(self.normal(units))
        layer.log_scale.assign(self.normal(units, scale=spread))
        return layer

    def plant_factors(self, factors):
        self.plant(
            layers.SandwichDense,
            "_compute_factors",
            lambda layer, training=False: factors,
        )

    def factors(self, layer, dtype="float32"):
        """Returns `A`, `B` and the two diagonals as they run, in float64."""
        kernel, before, after = (
            to_numpy(ops.cast(factor, dtype)).astype("float64")
            for factor in layer._compute_factors()
        )
        units = layer.units
        return kernel[:units].T, kernel[units:].T, before, after

    @parameterized.parameters((5, 3), (3, 5), (4, 4))
    def test_outputs_are_those_of_the_paper(self, input_dim, units):
        layer = self.make_layer(input_dim, units)
        x = self.normal(6, input_dim)
        a, b, _, _ = self.factors(layer)
        self.assertAllClose(a @ a.T + b @ b.T, np.eye(units), 1e-5)
        exponent = to_numpy(layer.log_scale).astype("float64")
        psi = np.exp(10 * exponent / (10 + np.abs(exponent)))
        hidden = np.sqrt(2) / psi * (x @ b.T) + to_numpy(layer.bias)
        expected = np.sqrt(2) * (np.maximum(hidden, 0) * psi) @ a
        self.assertAllClose(layer(x), expected, 1e-5, 1e-5)

    @parameterized.product(
        sizes=[(4, 3), (3, 5), (4, 4)], spread=[0.0, 1.0, 1e3, 1e30]
    )
    def test_bound_is_above_the_jacobian_of_every_pattern(self, sizes, spread):
        input_dim, units = sizes
        layer = self.make_layer(input_dim, units, spread)
        bound = layer.lipschitz_bound()
        self.assertAlmostEqual(bound, 1.0, delta=ROUNDINGS)
        self.assertGreaterEqual(
            bound, self.largest_jacobian_norm(layer) - 1e-14
        )
        self.assertTrue(
            np.isfinite(to_numpy(layer(self.normal(2, input_dim)))).all()
        )

    def largest_jacobian_norm(self, layer, dtype="float32"):
        up, down = (
            to_numpy(ops.cast(kernel, dtype)).astype("float64")
            for kernel in layer.compute_kernels()
        )
        units = layer.units
        patterns = [*itertools.product([0.0, 1.0], repeat=units)]
        patterns += [*self.rng.uniform(size=(50, units))]
        return max(
            np.linalg.norm(down * slopes @ up.T, 2) for slopes in patterns
        )

    def test_bound_is_reached(self):
        # `|A| = |B| = cos(45 degrees)`: the layer is the identity, or minus it.
        layer = self.make_layer(1, 1, activation="linear")
        # The Cayley transform of a tail `v` is `(1 - v^2, -2 v) / (1 + v^2)`.
        layer.free_kernel.assign([[0.0], [1 - np.sqrt(2)]])
        a, b, _, _ = self.factors(layer)
        self.assertAllClose(np.abs([a, b]), np.full((2, 1, 1), np.sqrt(0.5)))
        norm = self.largest_jacobian_norm(layer)
        self.assertAlmostEqual(norm, 1.0, delta=1e-6)
        self.assertAlmostEqual(layer.lipschitz_bound(), norm, delta=1e-6)

    @parameterized.parameters(
        # Too long by a factor of 1.5 on all or one of the hidden units.
        ([1.5, 1.5],),
        ([1.5, 1.0],),
    )
    def test_bound_sees_diagonals_that_are_not_inverse(self, factors):
        layer = self.make_layer(2, 2)
        factors = np.array(factors, "float32")
        kernel = np.sqrt(0.5) * np.vstack([np.eye(2), np.eye(2)])
        kernel = ops.convert_to_tensor(kernel.astype("float32"))
        found = (
            kernel,
            ops.convert_to_tensor(np.float32([2.0, 1.0])),
            ops.convert_to_tensor(np.float32([1.0, 2.0]) * factors),
        )
        self.plant_factors(found)
        self.assertAlmostEqual(layer.lipschitz_bound(), 1.5, delta=1e-6)
        norm = self.largest_jacobian_norm(layer)
        self.assertAlmostEqual(norm, 1.5, delta=1e-6)
        self.assertGreaterEqual(layer.lipschitz_bound(), norm)

    @parameterized.parameters(0.3, 0.9, 1.1, 2.0)
    def test_bound_holds_for_a_kernel_that_is_not_orthogonal(self, scale):
        layer = self.make_layer(3, 4)
        factors = layer._compute_factors()
        kernel = to_numpy(factors[0]) + self.normal(7, 4, scale=0.1)
        kernel = ops.convert_to_tensor(np.float32(scale) * kernel)
        self.plant_factors((kernel, *factors[1:]))
        norm = self.singular_values(kernel).max()
        bound = layer.lipschitz_bound()
        self.assertAlmostEqual(bound, norm**2, delta=1e-5 * norm**2)
        self.assertGreaterEqual(
            bound, self.largest_jacobian_norm(layer) - 1e-14
        )

    def test_bound_in_mixed_precision_is_of_the_kernel_that_runs(self):
        layer = self.make_layer(5, 4, dtype="mixed_bfloat16")
        bound = layer.lipschitz_bound()
        self.assertBetween(abs(bound - 1.0), 1e-6, 0.05)
        norm = self.largest_jacobian_norm(layer, "bfloat16")
        self.assertGreaterEqual(bound, norm)
        self.assertAlmostEqual(bound, norm, delta=0.05)

    def test_weights_that_are_not_finite_have_no_bound(self):
        layer = self.make_layer(3, 2)
        layer.log_scale.assign([np.nan, 0.0])
        self.assertEqual(layer.lipschitz_bound(), np.inf)

    def test_invalid_arguments_are_refused(self):
        for units in (0, 1.5):
            with self.assertRaisesRegex(ValueError, "`units` must be"):
                layers.SandwichDense(units)
        for activation in ("gelu", "silu", "selu"):
            with self.assertRaisesRegex(ValueError, "non-decreasing.*'tanh'"):
                layers.SandwichDense(3, activation=activation)
        with self.assertRaisesRegex(ValueError, "orthogonal parametrization"):
            layers.SandwichDense(3, parametrization="aol")
        with self.assertRaisesRegex(ValueError, "Unknown parametrization"):
            layers.SandwichDense(3, parametrization="polar")
        with self.assertRaisesRegex(ValueError, "must have a known size"):
            layers.SandwichDense(3).build((None, None))
