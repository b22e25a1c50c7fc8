import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.program import freeze_layer
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def read_weights(layer):
    """Returns the numbers that are certified."""
    (step,) = freeze_layer(layer).steps
    node = step.node
    return node.hidden_kernel, node.hidden_bias, node.kernel, node.bias


class CurvatureHeadTest(LipschitzTestCase):
    @parameterized.parameters((3, 8, {}), (1, 2, {"kernel_regularizer": "l2"}))
    def test_contract(self, units, hidden_units, kwargs):
        self.run_lipschitz_layer_test(
            layers.CurvatureHead,
            init_kwargs={
                "units": units,
                "hidden_units": hidden_units,
                "bias_initializer": "ones",
                **kwargs,
            },
            input_shape=(5,),
            expected_output_shape=(units,),
            expected_bound=None,
        )

    def make_layer(self, **kwargs):
        layer = layers.CurvatureHead(3, hidden_units=6, **kwargs)
        layer.build((None, 4))
        for weight in layer.weights:
            weight.assign(self.normal(*weight.shape))
        return layer

    def test_outputs_are_those_of_the_paper(self):
        layer, x = self.make_layer(), self.normal(2, 5, 4)
        inner, inner_bias, outer, outer_bias = read_weights(layer)
        hidden = np.log(1 + np.exp(x @ inner + inner_bias))
        self.assertAllClose(layer(x), hidden @ outer + outer_bias, 1e-5, 1e-5)

    def test_bound_is_the_product_of_the_norms(self):
        layer = self.make_layer()
        inner, _, outer, _ = read_weights(layer)
        exact = np.linalg.norm(inner, 2) * np.linalg.norm(outer, 2)
        self.assertGreaterEqual(layer.lipschitz_bound(), exact * (1 - 1e-15))
        self.assertAllClose(layer.lipschitz_bound(), exact, 0, 1e-13)

    def test_bound_is_reached_by_one_saturated_unit(self):
        layer = layers.CurvatureHead(1, hidden_units=1)
        layer.build((None, 1))
        for weight, value in zip(layer.weights, (2, 50, 3, 0), strict=True):
            weight.assign(np.full(weight.shape, float(value)))
        self.assertAlmostEqual(layer.lipschitz_bound(), 6.0, delta=1e-13)
        values = to_numpy(layer(np.array([[0.0], [1.0]])))
        self.assertAllClose(values[1] - values[0], [6.0], 1e-4, 0)

    def test_weights_on_the_host_are_those_that_run(self):
        layer = self.make_layer(dtype="mixed_bfloat16")
        weights = read_weights(layer)
        shapes = [weight.shape for weight in weights]
        self.assertEqual(shapes, [(4, 6), (6,), (6, 3), (3,)])
        for weight, variable in zip(weights, layer.weights, strict=True):
            self.assertEqual(weight.dtype, "float64")
            # Eight bits of significand, of the float32 numbers.
            self.assertAllClose(weight, variable, 0, 2.0**-8)
            self.assertGreater(np.abs(weight - to_numpy(variable)).max(), 0)
            mantissa, _ = np.frexp(weight)
            self.assertAllClose(mantissa * 256 % 1, 0 * mantissa, 0, 0)

    def test_weights_that_are_not_finite_have_no_bound(self):
        layer = self.make_layer()
        layer.kernel.assign(np.full((6, 3), np.nan))
        self.assertEqual(layer.lipschitz_bound(), np.inf)

    def test_invalid_arguments_are_refused(self):
        with self.assertRaisesRegex(ValueError, "`units` must be"):
            layers.CurvatureHead(0, 4)
        with self.assertRaisesRegex(ValueError, "`hidden_units` must be"):
            layers.CurvatureHead(3, 1.5)
        with self.assertRaisesRegex(ValueError, "must have a known size"):
            layers.CurvatureHead(3, 4).build((None, None))
