import keras
import numpy as np
from keras import layers

import keras_lip as kl
from keras_lip.certificates import audit
from keras_lip.certificates import certify
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class CertifyNormTest(LipschitzTestCase):
    def linf_network(self):
        return kl.models.LipschitzSequential(
            [
                keras.Input((6,)),
                kl.layers.LinfDense(8),
                kl.layers.GroupSort(2),
                kl.layers.LinfDense(3),
            ]
        )

    def test_radius_of_a_linear_network_is_exact(self):
        # The nearest point of another class, with largest change `r`, changes
        # every coordinate by `r`: the l1 norm of the difference of weights.
        model = keras.Sequential(
            [keras.Input((5,)), layers.Dense(3, use_bias=False)]
        )
        kernel = self.normal(5, 3)
        model.layers[0].set_weights([kernel])
        x = self.normal(20, 5)
        report = certify(model, x, np.zeros(20), norm="linf")
        kernel = kernel.astype("float64")
        scores = x.astype("float64") @ kernel
        for i, y in enumerate(np.argmax(scores, axis=1)):
            exact = min(
                (scores[i, y] - scores[i, j])
                / np.abs(kernel[:, y] - kernel[:, j]).sum()
                for j in range(3)
                if j != y
            )
            self.assertLessEqual(report.radius[i], exact)
            self.assertGreaterEqual(report.radius[i], exact - 1e-9)

    def test_network_is_certified_in_the_norm_of_its_layers(self):
        model = self.linf_network()
        x = self.normal(30, 6)
        report = certify(model, x, np.zeros(30), [0.1])
        self.assertEqual(report.norm, "linf")
        self.assertIn("(linf, proven)", str(report))
        self.assertIn('"norm": "linf"', report.to_json())
        # No corner of the cube has another class.
        for _ in range(50):
            signs = self.rng.choice([-1.0, 1.0], size=x.shape)
            moved = x + 0.999 * report.radius[:, None] * signs
            self.assertAllClose(
                np.argmax(to_numpy(model(moved)), axis=1), report.prediction
            )

    def test_joint_outputs_differ_by_twice_the_bound(self):
        inputs = keras.Input((2,))
        model = keras.Model(inputs, layers.ReLU()(inputs))
        x = np.array([[3.0, 1.0]])
        # Both logits meet at 2.
        report = certify(model, x, [0], norm="linf")
        self.assertAlmostEqual(report.radius[0], 1.0, delta=1e-8)
        self.assertIn("margin / (2 L)", report.method)
        report = certify(model, x, [0])
        self.assertAlmostEqual(report.radius[0], 2**0.5, delta=1e-8)

    def test_norms_are_not_mixed(self):
        with self.assertRaisesRegex(ValueError, "has none in l2"):
            certify(self.linf_network(), np.ones((1, 6)), [0], norm="l2")
        model = kl.models.LipschitzSequential(
            [keras.Input((6,)), kl.layers.OrthogonalDense(3, name="turn")]
        )
        with self.assertRaisesRegex(ValueError, "'turn'.* has none in linf"):
            certify(model, np.ones((1, 6)), [0], norm="linf")

    def test_metric_agrees_with_the_report(self):
        model = self.linf_network()
        x, y = self.normal(40, 6), self.rng.integers(0, 3, size=40)
        metric = kl.metrics.CertifiedAccuracy(0.05)
        model.compile("sgd", kl.losses.MulticlassHinge(0.5), metrics=[metric])
        model.fit(x, y, epochs=1, verbose=0)
        value = model.evaluate(x, y, verbose=0)[1]
        report = certify(model, x, y, [0.05])
        self.assertAlmostEqual(
            value, report.certified_accuracy(0.05), delta=1e-6
        )

    def test_metric_of_a_given_bound_takes_the_factor_of_its_norm(self):
        logits = np.array([[1.0, 0.0]])
        for norm, epsilon, expected in (
            (None, 0.6, 1.0), ("l2", 0.8, 0.0), ("linf", 0.6, 0.0)
        ):  # fmt: skip
            metric = kl.metrics.CertifiedAccuracy(epsilon, 1.0, norm=norm)
            metric.update_state(np.array([0]), logits)
            self.assertEqual(float(to_numpy(metric.result())), expected)
        self.run_serialization_test(metric)


class ReusedAuditTest(LipschitzTestCase):
    def make_model(self):
        model = kl.models.LipschitzSequential(
            [
                keras.Input((4,)),
                kl.layers.LipschitzDense(4),
                kl.layers.UnitNormDense(3),
            ]
        )
        return model

    def test_bounds_of_an_audit_are_used(self):
        model = self.make_model()
        x = self.normal(10, 4)
        report = audit(model, steps=3)
        certified = certify(model, x, np.zeros(10), audit=report)
        self.assertIs(certified.audit, report)
        fresh = certify(model, x, np.zeros(10))
        self.assertAllClose(certified.radius, fresh.radius, 0, 0)
        self.assertEqual(fresh.audit.sha256, report.sha256)

    def test_audit_of_other_weights_is_refused(self):
        model = self.make_model()
        x = self.normal(10, 4)
        report = audit(model, steps=None)
        for weight in model.weights:
            if weight.name == "power_iteration_vector":
                continue
            before = to_numpy(weight).copy()
            weight.assign(before * 2 + 1)
            with self.assertRaisesRegex(ValueError, "of other weights"):
                certify(model, x, np.zeros(10), audit=report)
            weight.assign(before)
        certify(model, x, np.zeros(10), audit=report)

    def test_audit_holds_as_long_as_the_kernels_that_run(self):
        model = self.make_model()
        x, layer = self.normal(10, 4), model.layers[0]
        layer.free_kernel.assign(np.diag([3.0, 1.0, 1.0, 1.0]))
        (vector,) = (w for w in layer.weights if "vector" in w.name)
        report = audit(model, steps=None)
        kernel = to_numpy(layer.kernel)
        # The estimate is the same, from the opposite vector.
        vector.assign(-to_numpy(vector))
        self.assertAllClose(layer.kernel, kernel, 0, 0)
        certify(model, x, np.zeros(10), audit=report)
        # From this one it is a third of the norm.
        vector.assign([[0.0, 1.0, 0.0, 0.0]])
        self.assertAllClose(layer.kernel, 3 * kernel)
        with self.assertRaisesRegex(ValueError, "of other weights"):
            certify(model, x, np.zeros(10), audit=report)

    def test_what_is_no_audit_of_the_model_is_refused(self):
        model = self.make_model()
        with self.assertRaisesRegex(
            TypeError, "`audit` must be an `AuditReport`"
        ):
            certify(model, np.ones((1, 4)), [0], audit=1.0)
        report = audit(model, steps=None)
        with self.assertRaisesRegex(ValueError, "The audit is in the l2 norm"):
            certify(model, np.ones((1, 4)), [0], audit=report, norm="linf")
        inputs = keras.Input((4, 4))
        images = keras.Model(inputs, layers.ReLU()(inputs))
        with self.assertRaisesRegex(ValueError, "must have an output of shape"):
            certify(
                images, np.ones((1, 4, 4)), [0], audit=audit(images, steps=None)
            )

    def test_page_shows_the_audit(self):
        model = self.make_model()
        certified = certify(model, np.ones((1, 4)), [0])
        path = self.temporary_path("report.html")
        certified.save(path)
        page = path.read_text()
        for layer in certified.audit.layers:
            self.assertIn(layer.name, page)
        self.assertIn(certified.audit.sha256, page)
        self.assertIn(certified.audit.sha256, certified.to_json())
