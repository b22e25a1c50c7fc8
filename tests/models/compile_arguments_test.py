import keras
from absl.testing import parameterized

from keras_lip import certificates
from keras_lip import layers
from keras_lip import losses
from keras_lip import metrics
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase

SHORT, LONG = 0.05, 0.4


class CompileArgumentsTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.x = self.normal(32, 4)
        self.y = self.rng.integers(0, 3, 32)

    def make_sequential(self):
        return models.LipschitzSequential(
            [keras.Input((4,)), layers.UnitNormDense(3)]
        )

    def evaluate(self, model, y=None):
        y = self.y if y is None else y
        return model.evaluate(self.x, y, verbose=0, return_dict=True)

    def assertCertified(self, found, model, epsilon):
        report = certificates.certify(model, self.x, self.y)
        expected = report.certified_accuracy(epsilon)
        self.assertBetween(expected, 0.01, 0.99)
        self.assertAllClose(found, expected)

    def test_own_losses_and_metrics_go_by_name(self):
        model = self.make_sequential()
        names = ["certified_accuracy", "mean_certified_radius", "accuracy"]
        model.compile("adam", "multiclass_hkr", metrics=names)
        self.assertIsInstance(model.loss, losses.MulticlassHKR)
        found = self.evaluate(model)
        self.assertEqual(set(found), {"loss", *names})
        self.assertCertified(found["certified_accuracy"], model, 36 / 255)

    @parameterized.parameters(
        ("multiclas_hkr", "mean_certified_radius", "Unknown loss: 'multiclas_"),
        ("multiclass_hkr", "certifed", "Unknown metric: 'certifed'.*'mean_"),
    )
    def test_names_of_nobody_are_refused(self, loss, metric, message):
        with self.assertRaisesRegex(ValueError, message):
            self.make_sequential().compile("adam", loss, metrics=[metric])

    @parameterized.parameters("crossentropy", "mse", "categorical_hinge")
    def test_names_of_keras_are_kept(self, loss):
        model = self.make_sequential()
        model.compile("adam", loss, metrics=["acc", "mse"])
        self.assertEqual(model.loss, loss)

    def test_names_survive_a_file(self):
        model = self.make_sequential()
        model.compile("adam", "multiclass_hkr", metrics=["certified_accuracy"])
        model.fit(self.x, self.y, verbose=0)
        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertEqual(self.evaluate(loaded), self.evaluate(model))

    def test_metrics_of_several_epsilons_say_which(self):
        model = self.make_sequential()
        pair = [metrics.CertifiedAccuracy(e) for e in (SHORT, LONG)]
        model.compile("adam", "multiclass_hinge", metrics=pair)
        found = self.evaluate(model)
        self.assertCertified(found["certified_accuracy_0.05"], model, SHORT)
        self.assertCertified(found["certified_accuracy_0.4"], model, LONG)

    def test_metrics_of_two_norms_say_which(self):
        model = self.make_sequential()
        pair = [
            metrics.MeanCertifiedRadius(2.0, norm=norm)
            for norm in ("l2", "linf")
        ]
        model.compile("adam", "multiclass_hinge", metrics=pair)
        self.assertContainsSubset(
            ("mean_certified_radius_l2", "mean_certified_radius_linf"),
            self.evaluate(model),
        )

    def test_a_single_metric_keeps_its_name(self):
        model = self.make_sequential()
        for _ in range(2):
            metric = metrics.CertifiedAccuracy(SHORT)
            model.compile("adam", "multiclass_hinge", metrics=[metric])
            self.assertIn("certified_accuracy", self.evaluate(model))

    def test_names_that_are_given_twice_are_refused(self):
        pair = [metrics.CertifiedAccuracy(e, name="same") for e in (0.1, 0.2)]
        with self.assertRaisesRegex(ValueError, "named 'same'.*Pass each"):
            self.make_sequential().compile("adam", "mse", metrics=pair)

    @parameterized.parameters(dict, list)
    def test_one_of_several_outputs_is_certified(self, kind):
        inputs = keras.Input((4,))
        features = layers.OrthogonalDense(5)(inputs)
        logits = layers.UnitNormDense(3, name="logits")(features)
        metric = [metrics.CertifiedAccuracy(SHORT), "accuracy"]
        if kind is dict:
            # In another order than they are flattened in.
            model = models.LipschitzModel(
                inputs, {"logits": logits, "features": features}
            )
            loss, given = {"logits": "multiclass_hkr"}, {"logits": metric}
            labels = {"logits": self.y, "features": self.y}
        else:
            model = models.LipschitzModel(inputs, [features, logits])
            loss, given = [None, "multiclass_hkr"], [None, metric]
            labels = [self.y, self.y]
        model.compile("adam", loss, metrics=given)
        model.fit(self.x, labels, verbose=0)
        found = self.evaluate(model, labels)["logits_certified_accuracy"]
        classifier = keras.Model(inputs, logits)
        self.assertCertified(found, classifier, SHORT)

    def test_metric_of_several_outputs_is_refused(self):
        inputs = keras.Input((4,))
        outputs = {
            name: layers.UnitNormDense(3, name=name)(inputs) for name in "ab"
        }
        model = models.LipschitzModel(inputs, outputs)
        metric = metrics.CertifiedAccuracy(SHORT)
        for given in ({"a": [metric], "b": [metric]}, [metric]):
            with self.assertRaisesRegex(ValueError, "constants of one output"):
                model.compile("adam", "multiclass_hkr", metrics=given)

    def test_output_without_a_bound_is_refused(self):
        inputs = keras.Input((4,))
        hidden = layers.OrthogonalDense(5)(inputs)
        outputs = [hidden, layers.OrthogonalDense(3, dtype="float32")(hidden)]
        model = models.LipschitzModel(inputs, outputs)
        with self.assertRaisesRegex(ValueError, r"one output.*`keras.Model"):
            certificates.certify(model, self.x, self.y)

    @parameterized.parameters("certified_accuracy", "mean_certified_radius")
    def test_monitors_know_that_more_is_better(self, name):
        model = self.make_sequential()
        model.compile("adam", "multiclass_hinge", metrics=[name])
        self.evaluate(model)
        stopping = keras.callbacks.EarlyStopping(f"val_{name}")
        stopping.set_model(model)
        stopping._set_monitor_op()
        self.assertTrue(stopping._is_improvement(0.6, 0.5))
        self.assertFalse(stopping._is_improvement(0.5, 0.6))
