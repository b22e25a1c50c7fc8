import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.bounds import JacobianSingularValues
from keras_lip.bounds import jacobian_singular_values
from keras_lip.bounds import lipschitz_bound
from tests.lipschitz_test_case import LipschitzTestCase


class JacobianSingularValuesTest(LipschitzTestCase):
    @parameterized.parameters((8, 3), (3, 8), (5, 5))
    def test_values_of_a_linear_map_are_those_of_its_kernel(self, dim, units):
        layer = keras.layers.Dense(units)
        model = keras.Sequential([keras.Input((dim,)), layer])
        found = jacobian_singular_values(model, self.normal(5, dim), 2)
        exact = self.singular_values(layer.kernel)
        self.assertEqual(found.values.shape, (5, min(dim, units)))
        self.assertEqual(found.values.dtype, "float64")
        self.assertAllClose(found.values, np.tile(exact, (5, 1)), 1e-6)
        self.assertAlmostEqual(found.least, exact.min(), delta=1e-6)
        self.assertAlmostEqual(found.largest, exact.max(), delta=1e-6)

    def test_values_depend_on_the_sample(self):
        # The Jacobian is `diag(2 x)`.
        inputs = keras.Input((3,))
        model = keras.Model(inputs, keras.ops.square(inputs))
        x = np.array([[1.0, -3.0, 2.0], [0.0, 0.5, 0.1]], "float32")
        found = jacobian_singular_values(model, x)
        self.assertAllClose(found.values, [[6, 4, 2], [1, 0.2, 0]], 1e-6)

    def test_relu_loses_what_max_min_keeps(self):
        shares = {}
        for activation in (layers.MaxMin(), keras.layers.ReLU()):
            model = keras.Sequential(
                [
                    keras.Input((4, 4, 4)),
                    layers.BCOPConv2D(4, 3),
                    activation,
                    layers.BCOPConv2D(4, 3),
                    activation,
                    keras.layers.Flatten(),
                    layers.OrthogonalDense(10),
                ]
            )
            found = jacobian_singular_values(model, self.normal(2, 4, 4, 4))
            self.assertLessEqual(found.largest, lipschitz_bound(model) + 1e-5)
            shares[type(activation)] = found.share_near_one()
        self.assertEqual(shares[layers.MaxMin], 1.0)
        self.assertLess(shares[keras.layers.ReLU], 0.1)

    def test_summaries_are_those_of_hand(self):
        values = np.array([[1.2, 1.0, 0.9], [1.04, 0.5, 0.0]])
        found = JacobianSingularValues(values)
        self.assertEqual((found.least, found.largest), (0.0, 1.2))
        self.assertAlmostEqual(found.share_near_one(), 2 / 6)
        self.assertAlmostEqual(found.share_near_one(0.11), 3 / 6)
        counts, edges = found.histogram(3)
        self.assertAllClose(edges, [0.0, 0.4, 0.8, 1.2])
        self.assertEqual(counts.tolist(), [1, 1, 4])
        counts, edges = found.histogram(2, upper=1.0)
        self.assertAllClose(edges, [0.0, 0.5, 1.0])
        self.assertEqual(counts.tolist(), [1, 3])
        # Small values are shown beside one.
        counts, edges = JacobianSingularValues(values / 10).histogram()
        self.assertEqual((len(counts), edges[-1]), (50, 1.0))
        self.assertEqual(
            str(found),
            "6 singular values from 0 to 1.2, 33.3% within 5 % of one",
        )

    def test_invalid_arguments_are_refused(self):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        x = np.ones((1, 2))
        with self.assertRaisesRegex(ValueError, "`batch_size` must be"):
            jacobian_singular_values(model, x, 0)
        with self.assertRaisesRegex(ValueError, "at least one sample"):
            jacobian_singular_values(model, x[:0])
        with self.assertRaisesRegex(TypeError, "keras.Model"):
            jacobian_singular_values(model.layers[0], x)
        two = keras.Model(model.inputs, [model.outputs[0]] * 2)
        with self.assertRaisesRegex(ValueError, "must have one output"):
            jacobian_singular_values(two, x)
        found = jacobian_singular_values(model, x)
        with self.assertRaisesRegex(ValueError, "`tolerance` must be"):
            found.share_near_one(-1)
        with self.assertRaisesRegex(ValueError, "`bins` must be"):
            found.histogram(0)
        with self.assertRaisesRegex(ValueError, "`upper` must be"):
            found.histogram(upper=0.0)
        model.layers[0].kernel.assign(np.full((2, 2), np.nan))
        with self.assertRaisesRegex(ValueError, "must be finite"):
            jacobian_singular_values(model, x)
