import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

import keras_lip as kl
from keras_lip.certificates import certify
from tests.lipschitz_test_case import LipschitzTestCase


class CertifySemanticsTest(LipschitzTestCase):
    def make_network(self, depth=3):
        stack = [keras.Input((6,))]
        for _ in range(depth):
            stack += [kl.layers.OrthogonalDense(6), kl.layers.MaxMin()]
        return kl.models.LipschitzSequential(
            [*stack, kl.layers.UnitNormDense(3)]
        )

    def test_executions_cost_what_they_round(self):
        model = self.make_network()
        x = self.normal(30, 6)
        real = certify(model, x, np.zeros(30))
        losses = {}
        for semantics in "float64", "float32":
            report = certify(model, x, np.zeros(30), semantics=semantics)
            self.assertEqual(report.semantics, semantics)
            self.assertIn(f"execution in {semantics}", str(report))
            self.assertIn(f'"semantics": "{semantics}"', report.to_json())
            self.assertAllClose(report.prediction, real.prediction)
            losses[semantics] = np.max(real.radius - report.radius)
        self.assertBetween(losses["float32"], 1e-7, 1e-3)
        self.assertLess(losses["float64"], 1e-9)

    def test_rounding_that_flips_the_class_is_accounted_for(self):
        # A bias of 1.5 2^26 leaves steps of 8 between float32 logits.
        model = keras.Sequential([keras.Input((1,)), layers.Dense(2)])
        bias = np.float32(1.5 * 2**26)
        model.layers[0].set_weights(
            [np.array([[1.0, -1.0]]), np.array([bias, bias])]
        )
        x = np.array([[3.0]], "float32")
        real = certify(model, x, [0])
        self.assertGreater(real.radius[0], 2.9)
        executed = keras.ops.convert_to_numpy(model(x))[0]
        self.assertEqual(executed[0], executed[1])
        report = certify(model, x, [0], semantics="float32")
        self.assertEqual(report.radius[0], 0.0)
        report = certify(model, x, [0], semantics="float64")
        self.assertGreater(report.radius[0], 2.9)

    def test_abstention_goes_with_executions(self):
        model, x = self.make_network(), self.normal(20, 6)
        report = certify(
            model, x, np.zeros(20), abstain_below=0.3, semantics="float64"
        )
        real = certify(model, x, np.zeros(20), abstain_below=0.3)
        self.assertAllClose(report.radius, real.radius, 1e-9)
        self.assertEqual(report.coverage, real.coverage)

    def test_what_is_not_known_is_refused(self):
        model = self.make_network()
        with self.assertRaisesRegex(
            ValueError, "are: 'float32', 'float64', 'r"
        ):
            certify(model, np.ones((1, 6)), [0], semantics="bfloat16")
        inputs = keras.Input((6,))
        tanh = keras.Model(inputs, layers.Dense(3, activation="tanh")(inputs))
        with self.assertRaisesRegex(ValueError, "Use semantics='real'"):
            certify(tanh, np.ones((1, 6)), [0], semantics="float64")
        with self.assertRaisesRegex(ValueError, "certified in the l2 norm"):
            certify(
                keras.Model(inputs, layers.ReLU()(inputs)),
                np.ones((1, 6)),
                [0],
                norm="linf",
                semantics="float32",
            )


class CertifyCurvatureTest(LipschitzTestCase):
    def make_model(self, units, nested=False):
        inputs = keras.Input((4,))
        features = kl.layers.OrthogonalDense(4)(inputs)
        head = kl.layers.CurvatureHead(units, 8)
        if nested:
            head = keras.Sequential([keras.Input((4,)), head])
        return keras.Model(inputs, head(features))

    @parameterized.parameters(False, True)
    def test_curvature_certifies_more_than_the_bound(self, nested):
        model = self.make_model(3, nested)
        x = self.normal(20, 4)
        report = certify(model, x, np.zeros(20))
        self.assertIn("curvature head", report.method)
        bound = kl.bounds.lipschitz_bound(model)
        logits = np.sort(keras.ops.convert_to_numpy(model(x)), axis=1)
        generic = (logits[:, -1] - logits[:, -2]) / (np.sqrt(2) * bound)
        self.assertTrue((report.radius >= generic * (1 - 1e-4) - 1e-7).all())
        self.assertGreater(np.mean(report.radius / generic), 1.2)
        # No direction of many leads to another class within the radius.
        for _ in range(50):
            step = self.normal(20, 4)
            step /= np.linalg.norm(step, axis=1, keepdims=True)
            moved = x + 0.999 * report.radius[:, None] * step
            found = np.argmax(keras.ops.convert_to_numpy(model(moved)), axis=1)
            self.assertAllClose(found, report.prediction)

    def test_head_of_one_unit_is_certified(self):
        model = self.make_model(1)
        x = self.normal(20, 4)
        report = certify(model, x, np.zeros(20))
        bound = kl.bounds.lipschitz_bound(model)
        logits = keras.ops.convert_to_numpy(model(x))[:, 0]
        self.assertTrue(
            (report.radius >= np.abs(logits) / bound * (1 - 1e-4)).all()
        )

    def test_abstention_is_certified_by_the_bound(self):
        model, x = self.make_model(3), self.normal(20, 4)
        plain = certify(model, x, np.zeros(20))
        report = certify(model, x, np.zeros(20), abstain_below=1e-9)
        self.assertTrue((report.radius <= plain.radius).all())
        self.assertLess(report.radius.sum(), plain.radius.sum())
