import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.certificates import certified_radius
from keras_lip.certificates.execution_certifier import ExecutionCertifier
from keras_lip.program import freeze
from tests.certificates.certify_test import exact_radii
from tests.certificates.certify_test import make_linear_network
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def make_dense(kernels, biases):
    """A network of `Dense` layers with the given weights."""
    model = keras.Sequential(
        [keras.Input((len(kernels[0]),))]
        + [keras.layers.Dense(len(bias)) for bias in biases]
    )
    for layer, kernel, bias in zip(model.layers, kernels, biases, strict=True):
        layer.set_weights([np.array(kernel), np.array(bias)])
    return model


def certifier(model, dtype):
    return ExecutionCertifier(freeze(model), dtype)


def radii_of(model, dtype, x):
    return certifier(model, dtype)(x).radii()


class ExecutionCertifierTest(LipschitzTestCase):
    @parameterized.product(
        head=(layers.UnitNormDense, keras.layers.Dense), classes=(1, 4)
    )
    def test_radii_of_linear_networks_are_near_the_exact_ones(
        self, head, classes
    ):
        model = make_linear_network(head, classes)
        x = self.normal(50, 8)
        exact = exact_radii(model, x)
        margins = certifier(model, "float64")(x)
        self.assertAllClose(margins.logits, to_numpy(model(x)), atol=1e-5)
        double = margins.radii()
        single = radii_of(model, "float32", x)
        self.assertTrue((double <= exact).all())
        self.assertTrue((single <= double).all())
        # The kernels are orthogonal to 1e-6; the rest is what is rounded.
        self.assertLess(np.max(exact - double), 1e-5)
        self.assertLess(np.max(exact - single), 1e-4)
        self.assertGreater(np.min(double - single), 1e-7 * (exact > 0.1).min())

    def test_execution_that_rounds_to_another_class_is_not_certified(self):
        # Next to 2**25 numbers are 4 apart: in float32 the first logit is
        # rounded to a multiple of that.
        identity, offset = np.eye(2), np.array([2.0**25, 0.0])
        model = make_dense([identity, identity], [offset, -offset])
        x = np.array([[2.5, 0.5]], dtype="float32")
        near = np.array([[1.9, 1.0]], dtype="float32")
        executed = np.argmax(to_numpy(model(np.concatenate([x, near]))), axis=1)
        self.assertEqual(executed.tolist(), [0, 1])
        distance = np.linalg.norm(near - x)
        (real,) = certified_radius(model, x)
        self.assertGreater(real, distance)
        (single,) = radii_of(model, "float32", x)
        self.assertLess(single, distance)
        # In float64 the sums are exact to 1e-8, and the class is that of `x`.
        (double,) = radii_of(model, "float64", x)
        self.assertAlmostEqual(double, real, delta=1e-6)

    def test_last_layer_rounds_its_own_logits(self):
        # Nothing comes before it, and next to 2**25 its logits tie.
        model = make_dense([np.eye(2)], [np.full(2, 2.0**25)])
        x = np.array([[0.5, 2.5], [1.0, 1.9]], dtype="float32")
        executed = np.argmax(to_numpy(model(x)), axis=1)
        self.assertEqual(executed.tolist(), [1, 0])
        self.assertEqual(radii_of(model, "float32", x).tolist(), [0.0, 0.0])
        self.assertTrue((radii_of(model, "float64", x) > 0.6).all())

    def test_last_layer_rounds_more_at_a_distance(self):
        # Equal weights: the real margin is constant, the roundings are not.
        model = make_dense([np.ones((2, 2))], [np.array([1.0, 0.0])])
        margins = certifier(model, "float32")(np.zeros((1, 2)))
        self.assertGreater(margins.rate[0, 1], 2 * 3 * 2.0**-24 * np.sqrt(2))

    def test_class_is_kept_up_to_the_radius_where_roundings_matter(self):
        identity, offset = np.eye(2), np.array([2.0**17, 0.0])
        model = make_dense([identity, identity], [offset, -offset])
        x = np.array([[1.0, 0.0]])
        (radius,) = radii_of(model, "float32", x)
        # The boundary is at 0.707, and a rounding takes up to 2**-7 of a logit.
        self.assertGreater(radius, 0.5)
        self.assertLess(radius, np.sqrt(0.5) - 2.0**-8)
        angles = np.linspace(0, 2 * np.pi, 500)
        circle = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        executed = to_numpy(model((x + circle).astype("float32")))
        self.assertTrue((executed[:, 0] > executed[:, 1]).all())

    def test_loss_in_networks_of_mnist_is_as_designed(self):
        # SOUNDNESS: 9e-3 in float32 and 2e-11 in float64 for random weights.
        stack = [keras.Input((784,))]
        for _ in range(8):
            stack += [keras.layers.Dense(128), layers.MaxMin()]
        model = keras.Sequential([*stack, layers.UnitNormDense(10)])
        for layer in model.layers[:-1:2]:
            shape = tuple(layer.kernel.shape)
            orthogonal, _ = np.linalg.qr(self.rng.normal(size=shape))
            layer.set_weights([orthogonal, np.zeros(128)])
        x = self.rng.uniform(size=(8, 784)).astype("float32")
        real = certified_radius(model, x)
        single = radii_of(model, "float32", x)
        double = radii_of(model, "float64", x)
        self.assertBetween(np.max(real - single), 1e-3, 3e-2)
        # For real functions the library allows for more than is lost here.
        self.assertLess(np.max(np.abs(real - double)), 1e-9)
        self.assertGreater(np.max(single), 0.0)

    def test_outputs_that_are_not_linear_are_jointly_bounded(self):
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(4), layers.MaxMin()]
        )
        model.layers[0].set_weights([np.eye(4), np.zeros(4)])
        x = np.array([[3.0, 0.0, 1.0, 0.0]], dtype="float32")
        (radius,) = radii_of(model, "float64", x)
        self.assertAlmostEqual(radius, 2 / np.sqrt(2), delta=1e-9)
        self.assertLess(radius, 2 / np.sqrt(2))

    def test_tie_has_no_radius(self):
        model = make_dense([np.ones((2, 2))], [np.zeros(2)])
        radii = radii_of(model, "float64", self.normal(3, 2))
        self.assertEqual(radii.tolist(), [0.0] * 3)

    def test_constant_function_has_a_finite_radius_of_no_overflow(self):
        model = make_dense([np.zeros((2, 2))], [np.array([1.0, 0.0])])
        radii = radii_of(model, "float32", self.normal(3, 2))
        self.assertTrue(np.isfinite(radii).all())
        self.assertTrue((radii > 1e6).all())
        self.assertTrue((radii < np.finfo("float32").max).all())

    @parameterized.parameters(1e38, 3e38, np.inf, np.nan)
    def test_execution_that_may_overflow_has_no_radius(self, weight):
        # The sum is finite in float64; in float32 its parts are not.
        kernel = np.array([[weight, 0.0], [-weight, 0.0]])
        model = make_dense([kernel], [np.array([0.0, 1.0])])
        x = np.array([[2.0, 2.0]])
        (single,) = radii_of(model, "float32", x)
        self.assertEqual(single, 0.0)

    def test_radius_ends_where_an_execution_might_overflow(self):
        model = make_dense(
            [[[1e30]], [[1e-30, 0.0]]], [np.zeros(1), np.array([1e9, 0.0])]
        )
        (single,) = radii_of(model, "float32", np.zeros((1, 1)))
        (double,) = radii_of(model, "float64", np.zeros((1, 1)))
        self.assertBetween(single, 1e7, 1e8)
        self.assertAlmostEqual(double / 1e9, 1.0, delta=1e-3)

    @parameterized.parameters("bfloat16", "float16")
    def test_half_precision_is_refused(self, dtype):
        model = make_dense([np.eye(2)], [np.zeros(2)])
        with self.assertRaisesRegex(ValueError, "Half precision is not"):
            certifier(model, dtype)

    def test_layer_of_unknown_roundings_is_refused(self):
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(2, "softplus", name="soft")]
        )
        with self.assertRaisesRegex(ValueError, "layer 'soft'.*'real'"):
            certifier(model, "float32")(self.normal(1, 4))
