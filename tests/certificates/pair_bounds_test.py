import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.certificates import certify
from keras_lip.certificates.pair_bounds import _distances_up
from keras_lip.certificates.pair_bounds import bound_pairs
from keras_lip.program import freeze
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def find_pair_bounds(model):
    program = freeze(model)
    return bound_pairs(program, program.bounds("l2"))


class PairBoundsTest(LipschitzTestCase):
    @parameterized.parameters(1e-30, 1.0, 1e30)
    def test_linear_head_is_bounded_by_the_distances_of_its_weights(
        self, scale
    ):
        kernel = self.normal(6, 4, scale=scale)
        # Two classes whose weights almost coincide.
        kernel[:, 3] = np.nextafter(kernel[:, 2], np.float32(np.inf))
        model = keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.Rescaling(3.0),
                keras.layers.Dense(4),
            ]
        )
        model.layers[-1].set_weights([kernel, np.zeros(4)])
        bounds = find_pair_bounds(model)
        self.assertEqual(bounds.kind, "linear l2")
        exact = kernel.astype(np.longdouble)
        exact = 3 * np.sqrt(
            np.sum((exact[:, :, None] - exact[:, None, :]) ** 2, axis=0)
        )
        off_diagonal = ~np.eye(4, dtype=bool)
        self.assertTrue((bounds.matrix >= exact)[off_diagonal].all())
        matrix = np.where(off_diagonal, bounds.matrix, 0)
        self.assertAllClose(matrix, exact, 0, 1e-13)

    def test_distances_of_subnormal_weights_are_rounded_up(self):
        if keras.backend.backend() == "jax":
            self.skipTest("JAX has no float64, unless it is told to.")
        layer = keras.layers.Dense(2, use_bias=False, dtype="float64")
        model = keras.Sequential(
            [
                keras.Input((2,), dtype="float64"),
                keras.layers.Dense(2, use_bias=False, dtype="float64"),
                layer,
            ]
        )
        model.layers[0].set_weights([2.0**800 * np.eye(2)])
        layer.set_weights([np.array([[5e-324, 0.0], [5e-324, 0.0]])])
        exact = np.sqrt(2) * (5e-324 * 2.0**800)
        bounds = find_pair_bounds(model)
        self.assertGreaterEqual(bounds.matrix[0, 1], exact)

    @parameterized.parameters("l2", "linf")
    def test_weights_that_are_no_numbers_have_no_distance(self, norm):
        distances = _distances_up(np.array([[1.0, np.nan, 2.0]]), norm)
        self.assertFalse((distances[1] < np.inf).any())
        self.assertAlmostEqual(distances[0, 2], 1.0, delta=1e-14)

    def test_joint_bound_is_kept_where_it_is_smaller(self):
        # Opposite weights are 2 apart, more than sqrt(2) |W| = 2 would allow.
        model = keras.Sequential([keras.Input((4,)), layers.UnitNormDense(2)])
        kernel = np.zeros((4, 2))
        kernel[0] = [1, -1]
        model.layers[0].free_kernel.assign(kernel)
        bounds = find_pair_bounds(model)
        self.assertAllClose(bounds.matrix[0, 1], 2.0)

    def test_logits_of_separate_branches_move_by_their_own_constants(self):
        inputs = keras.Input((4,))
        branches = []
        for scale, units in (1.0, 1), (2.0, 1), (4.0, 2):
            x = keras.layers.Rescaling(scale)(inputs)
            branches.append(keras.layers.Dense(units, use_bias=False)(x))
        model = keras.Model(inputs, keras.layers.Concatenate()(branches))
        for layer, columns in zip(
            model.layers[4:7], ([0], [0], [0, 1]), strict=True
        ):
            layer.set_weights([np.eye(4)[:, columns]])
        root = np.sqrt(2.0)
        self.assertAllClose(
            find_pair_bounds(model).matrix,
            [
                [root, 3, 5, 5],
                [3, 2 * root, 6, 6],
                [5, 6, 4 * root, 4 * root],
                [5, 6, 4 * root, 4 * root],
            ],
        )

    def test_radius_of_opposite_branches_is_exact(self):
        inputs = keras.Input((1,))
        branches = [
            keras.layers.Rescaling(scale)(inputs) for scale in (1.0, -2.0)
        ]
        model = keras.Model(inputs, keras.layers.Concatenate()(branches))
        report = certify(model, np.array([[3.0]]), [0])
        self.assertAlmostEqual(report.radius[0], 3.0, delta=1e-8)
        self.assertIn("separate branches", report.method)

    def test_head_inside_of_a_nested_model_is_found(self):
        inner = keras.Sequential(
            [
                keras.Input((6,)),
                layers.OrthogonalDense(6),
                keras.layers.Dense(3),
            ]
        )
        model = keras.Sequential([keras.Input((6,)), layers.MaxMin(), inner])
        bounds = find_pair_bounds(model)
        self.assertEqual(bounds.kind, "linear l2")
        kernel = to_numpy(inner.layers[-1].kernel).astype("float64")
        distance = np.linalg.norm(kernel[:, 0] - kernel[:, 1])
        self.assertAllClose(bounds.matrix[0, 1], distance, 0, 1e-5)

    def test_subclass_of_dense_is_refused(self):
        class Sharper(keras.layers.Dense):
            def call(self, inputs):
                return 10 * super().call(inputs)

        model = keras.Sequential([keras.Input((6,)), Sharper(3)])
        with self.assertRaisesRegex(ValueError, "of type `Sharper`"):
            find_pair_bounds(model)

    def test_subclass_that_does_more_than_its_kernel_is_no_linear_head(self):
        class Sharper(layers.UnitNormDense):
            def call(self, inputs, training=False):
                return 10 * super().call(inputs, training=training)

            def lipschitz_bound(self):
                return 10 * super().lipschitz_bound()

        model = keras.Sequential([keras.Input((6,)), Sharper(3)])
        bounds = find_pair_bounds(model)
        self.assertEqual(bounds.kind, "joint l2")
        kernel = to_numpy(model.layers[0].kernel).astype("float64")
        exact = 10 * np.linalg.norm(kernel[:, 0] - kernel[:, 1])
        self.assertGreaterEqual(bounds.matrix[0, 1], exact)

    def test_non_finite_kernel_has_infinite_bounds(self):
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        kernel = self.normal(6, 3)
        kernel[0, 0] = np.nan
        model.layers[0].set_weights([kernel, np.zeros(3)])
        matrix = find_pair_bounds(model).matrix
        self.assertTrue(np.isinf(matrix[0, 1:]).all())

    @parameterized.parameters("sigmoid", "hard_sigmoid", "sparse_sigmoid")
    def test_one_probability_has_no_sign_to_predict_by(self, name):
        """Even where the sigmoid is not the last operation."""
        inputs = keras.Input((2,))
        one, two = (
            keras.layers.Dense(1, activation=name)(inputs) for _ in range(2)
        )
        average = keras.layers.Average()([one, two])
        for outputs in (
            one,
            average,
            keras.layers.Maximum()([one, average]),
            keras.layers.Rescaling(2.0)(one),
            keras.layers.Reshape((1,))(one),
        ):
            with self.assertRaisesRegex(ValueError, f"ends in a `{name}`"):
                find_pair_bounds(keras.Model(inputs, outputs))
        # Differences have a sign, and the largest of several a class.
        for outputs in (
            keras.layers.Subtract()([one, two]),
            keras.layers.Rescaling(2.0, -1.0)(one),
            keras.layers.Concatenate()([one, two]),
        ):
            model = keras.Model(inputs, outputs)
            self.assertTrue(np.isfinite(find_pair_bounds(model).matrix).all())
