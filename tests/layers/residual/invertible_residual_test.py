import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip.autodiff import gradient
from keras_lip.bounds import contraction_bound
from keras_lip.bounds import lipschitz_bound
from keras_lip.models import fix_steps
from keras_lip.program import freeze_layer
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def make_block():
    return [layers.OrthogonalDense(4), layers.MaxMin()]


class InvertibleResidualTest(LipschitzTestCase):
    def make_linear(self, matrix, scale=0.5):
        """The layer `x + scale * x @ matrix`."""
        dense = keras.layers.Dense(len(matrix), use_bias=False)
        layer = layers.InvertibleResidual(dense, scale)
        layer.build((None, len(matrix)))
        dense.kernel.assign(matrix)
        return layer

    def exact_inverse(self, layer, outputs, steps=200):
        """The inverse of the layer in float64, by many steps."""
        program = freeze_layer(layer, [outputs.shape[1:]])
        x = outputs
        for _ in range(steps):
            x = x + outputs - program.run(x)
        return x

    def test_contract_of_a_dense_block(self):
        self.run_lipschitz_layer_test(
            layers.InvertibleResidual,
            init_kwargs={"layers": make_block(), "scale": 0.75},
            input_shape=(4,),
            expected_output_shape=(4,),
            expected_bound=None,
        )

    def test_contract_of_a_convolutional_block(self):
        self.run_lipschitz_layer_test(
            layers.InvertibleResidual,
            init_kwargs={
                "layers": [
                    layers.BCOPConv2D(4, 3),
                    layers.GroupSort(2),
                    layers.BCOPConv2D(4, 3),
                ],
            },
            input_shape=(4, 4, 4),
            expected_output_shape=(4, 4, 4),
            expected_bound=None,
        )

    def test_outputs_add_the_scaled_branch(self):
        layer = self.make_linear(np.array([[0.0, 2.0], [4.0, 0.0]]), 0.25)
        self.assertAllClose(layer(np.array([[1.0, 3.0]])), [[4.0, 3.5]])

    @parameterized.parameters(0.25, 0.5, 0.9)
    def test_both_sides_of_the_bound_are_proven(self, scale):
        layer = layers.InvertibleResidual(make_block(), scale)
        model = keras.Sequential([keras.Input((4,)), layer])
        rounded = float(np.float32(scale))
        low, high = contraction_bound(model), lipschitz_bound(model)
        self.assertGreaterEqual(high, 1 + rounded)
        self.assertAlmostEqual(high, 1 + rounded, delta=1e-5)
        self.assertLessEqual(low, 1 - rounded)
        self.assertAlmostEqual(low, 1 - rounded, delta=1e-5)

    def test_the_inverse_is_reached_as_fast_as_promised(self):
        layer = layers.InvertibleResidual(
            [layers.OrthogonalDense(4), layers.AbsoluteValue()], 0.5
        )
        y = self.rng.normal(size=(16, 4))
        layer(y)
        exact = self.exact_inverse(layer, y)
        for steps in (1, 2, 5, 10):
            off = np.linalg.norm(
                to_numpy(layer.inverse(y, steps)) - exact, 2, 1
            )
            bound = layer.inverse_error_bound(y, steps)
            # Roundings of float32 come on top.
            self.assertTrue(np.all(off <= bound + 1e-6))
            # The inverse is found at a rate of about one half.
            self.assertGreater((off / bound).max(), 0.05)
        self.assertAllClose(layer(layer.inverse(y, 40)), y, atol=1e-5)

    def test_the_error_bound_is_met_by_a_linear_branch(self):
        # x + x / 2 = y: each step halves the error, with alternating signs.
        layer = self.make_linear(np.eye(2))
        y = np.array([[3.0, 0.0], [0.0, 6.0]])
        for steps in (1, 2, 3):
            found = to_numpy(layer.inverse(y, steps))
            off = np.linalg.norm(found - y / 1.5, 2, 1)
            # |x_1 - x_0| = |y| / 2, and 1 / (1 - q) = 2.
            expected = 0.5**steps * np.array([3.0, 6.0])
            bound = layer.inverse_error_bound(y, steps)
            self.assertAllClose(bound, expected)
            self.assertTrue(np.all(bound >= expected))
            self.assertTrue(np.all(off <= bound))
        # The opposite sign gives equality.
        layer = self.make_linear(-np.eye(2))
        off = np.linalg.norm(to_numpy(layer.inverse(y, 3)) - 2 * y, 2, 1)
        self.assertAllClose(layer.inverse_error_bound(y, 3), off, rtol=1e-5)

    def test_the_bound_of_inputs_holds_for_any_inputs(self):
        layer = layers.InvertibleResidual(make_block(), 0.75)
        y = self.rng.normal(size=(16, 4))
        layer(y)
        exact = self.exact_inverse(layer, y, 400)
        for x in (exact, to_numpy(layer.inverse(y, 5)), y, np.zeros((16, 4))):
            x = x.astype("float64")
            bound = layer.input_error_bound(x, y)
            off = np.linalg.norm(x - exact, 2, 1)
            self.assertTrue(np.all(off <= bound + 1e-12))
            # The residual is at most `1 + q` times the error.
            self.assertTrue(np.all(bound <= off * 1.75 / 0.25 + 1e-6))

    def test_bounds_hold_in_the_norms_of_the_layers(self):
        block = [layers.LinfDense(4), layers.MaxMin()]
        layer = layers.InvertibleResidual(block, 0.5)
        y = self.rng.normal(size=(8, 4))
        layer(y)
        self.assertEqual(layer.norms, ("linf",))
        exact = self.exact_inverse(layer, y)
        x = to_numpy(layer.inverse(y, 3)).astype("float64")
        off = np.abs(x - exact).max(axis=1)
        self.assertTrue(np.all(off <= layer.inverse_error_bound(y, 3) + 1e-6))
        self.assertTrue(np.all(off <= layer.input_error_bound(x, y)))
        with self.assertRaisesRegex(ValueError, "has bounds in"):
            layer.inverse_error_bound(y, 3, norm="l2")

    def test_the_inverse_is_differentiable(self):
        matrix = self.rng.normal(size=(3, 3)) / 4
        layer = self.make_linear(matrix)
        y = ops.convert_to_tensor(self.normal(1, 3))
        weights = self.normal(1, 3)
        factors = ops.convert_to_tensor(weights)
        found = gradient(lambda y: ops.sum(layer.inverse(y, 60) * factors), y)
        exact = weights @ np.linalg.inv(np.eye(3) + matrix / 2).T
        self.assertAllClose(found, exact, atol=1e-5)

    def test_a_branch_that_is_no_contraction_has_no_inverse(self):
        layer = self.make_linear(2 * np.eye(2))
        y = np.ones((1, 2))
        for bound in (
            lambda: layer.inverse_error_bound(y),
            lambda: layer.input_error_bound(y, y),
        ):
            with self.assertRaisesRegex(ValueError, "less than one"):
                bound()
        layer.layers[0].kernel.assign(np.full((2, 2), np.nan))
        with self.assertRaisesRegex(ValueError, "less than one"):
            layer.inverse_error_bound(y)

    def test_steps_of_the_branch_are_fixed(self):
        layer = layers.InvertibleResidual(layers.ConvexPotentialDense(8))
        model = keras.Sequential([keras.Input((4,)), layer])
        fixed = fix_steps(model)
        self.assertLessEqual(lipschitz_bound(fixed), 1.5 + 1e-6)
        (found,) = fixed.layers[-1].layers
        self.assertIsNotNone(found.step)

    def test_losses_use_the_bound_of_the_branch(self):
        layer = layers.InvertibleResidual(make_block(), 0.25)
        layer(self.normal(2, 4))
        self.assertAllClose(layer._estimate_bound(training=False), 1.25)
        free = layers.InvertibleResidual(layers.LipschitzResidualDense(4), 0.5)
        free(self.normal(2, 4))
        estimate = to_numpy(free._estimate_bound(training=False))
        norm = self.singular_values(free.layers[0].kernel).max()
        self.assertAllClose(estimate, 1 + norm / 2, atol=0.1)

    def test_layers_that_change_the_shape_are_refused(self):
        layer = layers.InvertibleResidual(layers.OrthogonalDense(3))
        with self.assertRaisesRegex(ValueError, "must not change the shape"):
            layer.build((None, 4))
        # A size that is known when it runs alone.
        pool = layers.InvertibleResidual(layers.ScaledAveragePooling2D(2))
        pool.build((None, None, None, 2))
        with self.assertRaisesRegex(ValueError, "must not change the shape"):
            pool(self.normal(1, 2, 2, 2))

    @parameterized.parameters(1.0, 1.5, 0.0, -0.5, np.nan, 1 - 1e-12)
    def test_a_scale_out_of_range_is_refused(self, scale):
        with self.assertRaisesRegex(ValueError, "`scale` must be"):
            layers.InvertibleResidual(make_block(), scale)

    def test_invalid_layers_are_refused(self):
        for value in (None, ["a"], keras.Sequential(make_block())):
            with self.assertRaisesRegex(TypeError, "`layers` must be a layer"):
                layers.InvertibleResidual(value)
        with self.assertRaisesRegex(ValueError, "at least one layer"):
            layers.InvertibleResidual([])
        message = "LayerNormalization.*Use a layer of .*, or register a bound"
        with self.assertRaisesRegex(ValueError, message):
            layers.InvertibleResidual(keras.layers.LayerNormalization())
        mixed = [layers.OrthogonalDense(4), layers.LinfDense(4)]
        message = "Use `OrthogonalDense` for l2, or `LinfDense` for linf"
        with self.assertRaisesRegex(ValueError, message):
            layers.InvertibleResidual(mixed)

    def test_invalid_outputs_are_refused(self):
        layer = layers.InvertibleResidual(make_block())
        y = np.ones((2, 4))
        with self.assertRaisesRegex(ValueError, "is not built"):
            layer.inverse(y)
        layer(y)
        with self.assertRaisesRegex(ValueError, "`steps` must be"):
            layer.inverse(y, 0)
        with self.assertRaisesRegex(ValueError, "`outputs` must be finite"):
            layer.inverse_error_bound(y * np.inf)
        with self.assertRaisesRegex(ValueError, "the same shape"):
            layer.input_error_bound(y, y[:1])
