import keras
import numpy as np
from absl.testing import parameterized
from keras import layers
from keras import ops

from keras_lip.bounds import lipschitz_bound
from keras_lip.program import freeze
from tests.program.stock.rule_test_case import RuleTestCase


class OperationsTest(RuleTestCase):
    def apply(self, function, shape=(3,)):
        inputs = keras.Input(shape)
        return keras.Model(inputs, function(inputs))

    @parameterized.named_parameters(
        ("sum", lambda x: x + 2 * x, 3.0),
        ("difference", lambda x: 2 * x - x * -3, 5.0),
        ("negative", lambda x: -x, 1.0),
        ("shift", lambda x: x + 5, 1.0),
        ("shift_from_the_left", lambda x: 5.0 - x, 1.0),
        ("half", lambda x: 0.5 * x, 0.5),
        ("product_from_the_right", lambda x: x * -4, 4.0),
        ("quotient", lambda x: x / -2, 0.5),
        ("zero", lambda x: 0 * x, 0.0),
        ("numpy_number", lambda x: x * np.float64(3.0), 3.0),
        ("functions", lambda x: ops.subtract(ops.multiply(x, 2), 1.0), 2.0),
        ("convex", lambda x: 0.25 * x + 0.75 * (x / 3), 0.5),
        ("shifts", lambda x: x + np.ones((3,), "float32"), 1.0),
        ("scales", lambda x: x * np.array([[1.0, -3.0, 2.0]]), 3.0),
        ("quotients", lambda x: x / np.array([1.0, -4.0, 0.5]), 2.0),
        ("index", lambda x: x[:, :2], 1.0),
        ("index_of_one", lambda x: x[:, -1], 1.0),
        ("every_other", lambda x: x[:, ::2], 1.0),
        ("new_axis", lambda x: x[:, None, ..., 1:], 1.0),
        ("sum_of_features", lambda x: ops.sum(x, axis=-1), 3**0.5),
        ("mean_of_features", lambda x: ops.mean(x, 1, keepdims=True), 3**-0.5),
        ("centering", lambda x: x - ops.mean(x, -1, keepdims=True), None),
        ("concatenation", lambda x: ops.concatenate([x, 2 * x], 1), 5**0.5),
        ("copies", lambda x: ops.concatenate([x, x, x], -1), 3**0.5),
        ("stack", lambda x: ops.stack([x, x], axis=1), 2**0.5),
        ("part", lambda x: ops.split(x, [1], axis=1)[1], 1.0),
        ("entry", lambda x: ops.unstack(x, axis=1)[1], 1.0),
        ("shape", lambda x: ops.reshape(x, (-1, 3, 1)), 1.0),
        ("padding", lambda x: ops.pad(x, [[0, 0], [1, 2]]), 1.0),
        ("flip", lambda x: ops.flip(x, axis=1), 1.0),
        (
            "matrix",
            lambda x: ops.matmul(x, np.diag([1.0, 2.0, -5.0])[:, 1:]),
            5.0,
        ),
        ("cast", lambda x: ops.cast(3 * x, "float32"), 3.0),
    )
    def test_bound_is_the_norm_of_the_matrix(self, function, expected):
        model = self.apply(function)
        if expected is None:
            self.assertBounded(model)
        else:
            self.assertAlmostEqual(
                lipschitz_bound(model), expected, delta=1e-12
            )
            self.assertBounded(model, slack=1e-5)
        x = self.normal(4, 3)
        self.assertAllClose(freeze(model).run(x), model(x))

    def test_constants_count_as_they_are_rounded(self):
        # In float32, 1.1 is larger than it is and 0.7 is smaller.
        for number in (1.1, 0.7):
            rounded = float(np.float32(number))
            model = self.apply(lambda x, n=number: n * x)
            self.assertEqual(lipschitz_bound(model), rounded)
            model = self.apply(lambda x, n=number: x / n)
            self.assertGreaterEqual(lipschitz_bound(model), 1 / rounded)
            self.assertAlmostEqual(
                lipschitz_bound(model), 1 / rounded, delta=1e-14
            )

    def test_division_by_zero_has_no_bound(self):
        self.assertEqual(lipschitz_bound(self.apply(lambda x: x / 0)), np.inf)

    @parameterized.named_parameters(
        ("square", lambda x: x * x),
        ("gate", lambda x: x * layers.Activation("sigmoid")(x)),
    )
    def test_product_of_tensors_is_refused(self, function):
        with self.assertRaisesRegex(ValueError, "multiplies two tensors"):
            lipschitz_bound(self.apply(function))

    def test_division_by_a_tensor_is_refused(self):
        for function in (lambda x: 1 / x, lambda x: x / (x + 1)):
            with self.assertRaisesRegex(ValueError, "divides by a tensor"):
                lipschitz_bound(self.apply(function))

    @parameterized.named_parameters(
        ("in_a_vector", lambda x: x + np.array([0, np.nan, 1]), "`ndarray`"),
        ("not_a_number", lambda x: x + float("nan"), "nan of type `float`"),
        ("infinite", lambda x: x - float("inf"), "inf of type `float`"),
        ("product_with_nan", lambda x: x * float("nan"), "nan of type"),
    )
    def test_constant_that_is_no_number_is_refused(self, function, named):
        with self.assertRaisesRegex(ValueError, named):
            lipschitz_bound(self.apply(function))

    @parameterized.named_parameters(
        ("sum", lambda x: x + layers.Dense(1)(x)),
        ("difference", lambda x: layers.Dense(1)(x) - x),
    )
    def test_tensors_that_would_broadcast_are_refused(self, function):
        with self.assertRaisesRegex(ValueError, "must not broadcast"):
            lipschitz_bound(self.apply(function))

    @parameterized.named_parameters(
        ("softmax", ops.softmax, "Softmax"),
        ("square", lambda x: x**2, "Power"),
        ("exponential", ops.exp, "Exp"),
        ("norm", lambda x: ops.norm(x, axis=-1), "Norm"),
        ("where", lambda x: ops.where(x > 0, x, -x), "Greater|Where"),
    )
    def test_other_operations_are_refused(self, function, named):
        with self.assertRaisesRegex(
            ValueError, rf"`({named})` \(an operation of `keras.ops`\)"
        ):
            lipschitz_bound(self.apply(function))

    def test_conversion_between_floats_is_the_identity(self):
        for dtype in (None, "float32", "float64"):
            model = self.apply(lambda x, d=dtype: ops.convert_to_tensor(x, d))
            self.assertEqual(lipschitz_bound(model), 1.0)

    def test_conversion_to_integers_is_refused(self):
        for convert in ops.convert_to_tensor, ops.cast:
            model = self.apply(lambda x, f=convert: f(x, "int32"))
            with self.assertRaisesRegex(ValueError, "rounds its input to 'int"):
                lipschitz_bound(model)

    @parameterized.named_parameters(
        ("mean", lambda x: x - ops.mean(x, axis=0), "'mean"),
        ("sum", lambda x: ops.sum(x), "'sum"),
        ("index", lambda x: x[:1, :], "'get_item"),
        ("sort", lambda x: ops.sort(x, axis=0), "'sort"),
        ("sort_of_all", lambda x: ops.sort(x, axis=None), "'sort"),
        ("reshape", lambda x: ops.reshape(x, (-1, 1)), "'reshape"),
        ("concatenation", lambda x: ops.concatenate([x, x], 0), "'concat"),
        ("stack", lambda x: ops.stack([x, x], axis=-3), "'stack"),
        ("transpose", ops.transpose, "'transpose"),
    )
    def test_what_joins_or_moves_samples_is_refused(self, function, named):
        with self.assertRaisesRegex(ValueError, rf"{named}.* samples"):
            lipschitz_bound(self.apply(function))

    @parameterized.named_parameters(
        ("sum", lambda x: x + np.ones((5, 3))),
        ("product", lambda x: x[:, :1] * np.ones((3,))),
        ("quotient", lambda x: x / np.ones((1, 1, 3))),
    )
    def test_constants_that_would_broadcast_are_refused(self, function):
        with self.assertRaisesRegex(ValueError, "must not broadcast"):
            lipschitz_bound(self.apply(function))

    def test_product_with_a_float64_matrix_is_rounded_as_it_runs(self):
        # In float32 the matrix is 1 + 2^-23.
        matrix = np.array([[1 + 2**-24 + 2**-40]])
        model = self.apply(lambda x: ops.matmul(x, matrix), (1,))
        bound = lipschitz_bound(model)
        self.assertGreaterEqual(bound, 1 + 2**-23)
        self.assertLessEqual(bound, 1 + 2**-22)
        program = freeze(model)
        matrix[:] = 7.0
        self.assertEqual(program.run(np.ones((1, 1))), 1 + 2**-23)

    def test_tiny_weight_of_a_convolution_is_kept(self):
        layer = layers.Conv1D(1, 1, use_bias=False)
        model = self.apply(lambda x: x + 1e-310 * layer(x), (3, 1))
        layer.set_weights([np.ones((1, 1, 1))])
        self.assertAlmostEqual(lipschitz_bound(model), 1.0, delta=1e-12)

    @parameterized.named_parameters(
        ("arrays", np.zeros(3), np.ones(3)),
        ("arrays_of_one_entry", np.zeros((1, 1, 1)), np.ones((1, 1, 1))),
    )
    def test_clipping_to_arrays_is_refused(self, low, high):
        model = self.apply(lambda x: ops.clip(x, low, high))
        with self.assertRaisesRegex(ValueError, "only if it clips to numbers"):
            lipschitz_bound(model)
        model = self.apply(lambda x: ops.clip(x, 0.0, np.float32(1.0)))
        self.assertEqual(lipschitz_bound(model), 1.0)
