import math

import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase


class LipschitzScaleTest(LipschitzTestCase):
    @parameterized.parameters((0.5, (5,)), (-1.0, (2, 3)))
    def test_contract(self, factor, shape):
        self.run_lipschitz_layer_test(
            layers.LipschitzScale,
            init_kwargs={"factor": factor},
            input_shape=shape,
            expected_output_shape=shape,
            expected_bound=abs(factor),
        )

    def test_contract_of_an_expansion(self):
        self.run_lipschitz_layer_test(
            layers.LipschitzScale,
            init_kwargs={"factor": 3.7},
            input_shape=(5,),
            expected_output_shape=(5,),
            expected_bound=None,
        )

    def test_input_is_multiplied(self):
        x = self.normal(3, 4)
        self.assertAllClose(layers.LipschitzScale(-2)(x), -2 * x, 0, 0)

    def test_bound_is_of_the_factor_that_runs(self):
        # 0.7 rounds down in float32 and up in bfloat16.
        exact = layers.LipschitzScale(0.7).lipschitz_bound()
        self.assertEqual(exact, float(np.float32(0.7)))
        half = layers.LipschitzScale(-0.7, dtype="bfloat16")
        self.assertEqual(half.lipschitz_bound(), 0.69921875)
        half.build((None, 3))
        stock = half.to_keras_layer().layers[-1]
        self.assertEqual(stock.scale, -0.69921875)
        self.assertEqual(stock.compute_dtype, "bfloat16")

    @parameterized.parameters(math.inf, math.nan, 1e300, -1e39, "2", None, True)
    def test_factor_that_is_no_finite_number_is_refused(self, factor):
        with self.assertRaisesRegex(ValueError, "`factor` must be a finite"):
            layers.LipschitzScale(factor)

    def test_stock_form_of_a_layer_that_is_not_built_is_refused(self):
        layer = layers.LipschitzScale(0.7, name="scale")
        with self.assertRaisesRegex(ValueError, "'scale' is not built"):
            layer.to_keras_layer()
