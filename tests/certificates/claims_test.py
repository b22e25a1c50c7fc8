import json

import keras
import numpy as np
from absl.testing import parameterized

import keras_lip as kl
from keras_lip import bounds
from keras_lip import certificates
from keras_lip.certificates import audit
from keras_lip.certificates import certify
from keras_lip.models.exporting.certificate import make_certificate
from keras_lip.models.exporting.certificate_source import find_bounds
from keras_lip.program import freeze
from keras_lip.program.freezing.registry import RULES
from tests.lipschitz_test_case import LipschitzTestCase


class Fivefold(keras.layers.Layer):
    """A layer that a rule of a user claims to have a bound of one."""

    def call(self, inputs):
        return 5.0 * inputs

    def compute_output_shape(self, input_shape):
        return input_shape


class OwnFivefold(Fivefold):
    """A layer that claims a bound of itself."""

    def call(self, inputs):
        return 5.0 * inputs

    def lipschitz_bound(self):
        return 1.0


BASIS = "proven if the bounds claimed by the user hold, of layer 'trusted'"


def make_model(kind, outputs=2):
    """A model with a claimed layer at some depth."""
    layer_class = OwnFivefold if kind == "method" else Fivefold
    layer, shape = layer_class(name="trusted"), (2,)
    if kind == "slices":
        shape = (3, 2)
        layer = keras.layers.TimeDistributed(layer_class(), name="trusted")
    elif kind == "residual":
        layer = kl.layers.InvertibleResidual(
            [layer_class()], 0.5, name="trusted"
        )
    elif kind == "model":
        inputs = keras.Input(shape)
        layer = keras.Model(inputs, layer(inputs))
    model = keras.Sequential(
        [
            keras.Input(shape),
            layer,
            keras.layers.Flatten(),
            keras.layers.Dense(outputs, use_bias=False, name="head"),
        ]
    )
    size = np.prod(shape)
    model.get_layer("head").set_weights([np.eye(size)[:, :outputs]])
    return model, np.ones((1, *shape))


class ClaimsTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        bounds.propagate_bound.register(Fivefold)(lambda layer, inputs: inputs)
        self.addCleanup(RULES.rules.pop, Fivefold)

    @parameterized.parameters("rule", "method", "slices", "residual", "model")
    def test_claims_are_named_wherever_bounds_are(self, kind):
        model, x = make_model(kind)
        for _ in range(2):
            # The second time, proofs come from a cache.
            report = certify(model, x, [0])
            self.assertEqual(report.audit.claims, ("trusted",))
        trusted, head = report.audit.layers[0], report.audit.layers[-1]
        self.assertIn("claimed by the user", trusted.method)
        self.assertEqual(head.method, "singular values")
        self.assertIn(f"Lipschitz bound (l2, {BASIS}): ", str(report))
        self.assertIn(f"bound of the network ({BASIS}): ", str(report.audit))
        assumptions = json.loads(report.audit.to_json())["assumptions"]
        self.assertLen(assumptions, 5)
        self.assertIn("of layer 'trusted', which the user has", assumptions[-1])
        page = report.save(self.temporary_path("report.html")).read_text()
        self.assertIn("claimed by the user hold, of layer &#39;tr", page)
        self.assertNotIn("norm, proven)", page)
        axes = report.plot()
        self.assertEqual(
            axes.get_legend_handles_labels()[1], ["certified (if claims hold)"]
        )

    @parameterized.parameters("report.json", "report.npz")
    def test_claims_are_kept_in_files(self, name):
        model, x = make_model("rule")
        path = certify(model, x, [0]).save(self.temporary_path(name))
        report = certificates.CertificationReport.load(path)
        self.assertEqual(report.basis, BASIS)
        # The file cannot hide them.
        report = certify(model, x, [0], audit=report.audit)
        self.assertEqual(report.basis, BASIS)

    def test_exported_certificates_name_claims(self):
        model, _ = make_model("method")
        audit, pairs = find_bounds(model, freeze(model), None)
        certificate = make_certificate(audit, pairs, None)
        self.assertEqual(certificate["basis"], BASIS)
        self.assertLen(certificate["audit"]["assumptions"], 5)

    def test_wasserstein_reports_name_claims(self):
        critic, _ = make_model("rule", 1)
        found = certificates.wasserstein_lower_bound(
            critic, self.normal(5, 2), self.normal(5, 2)
        )
        self.assertEqual(found.claims, ("trusted",))
        self.assertIn(f"critic ({BASIS}): 1", str(found))

    def test_estimate_above_a_claim_blames_the_claim(self):
        for kind in ("rule", "method"):
            with self.assertRaisesRegex(
                RuntimeError, "claim of the user is false: correct the reg"
            ):
                audit(make_model(kind)[0])

    def test_bounds_without_claims_are_proven(self):
        model = keras.Sequential(
            [
                keras.Input((2,)),
                kl.layers.OrthogonalDense(2),
                kl.layers.UnitNormDense(2),
            ]
        )
        report = certify(model, np.eye(2), [0, 1])
        self.assertEqual(report.audit.claims, ())
        self.assertEqual((report.basis, report.audit.basis), ("proven",) * 2)
        self.assertIn("Lipschitz bound (l2, proven): ", str(report))
        self.assertIn("the network (proven): ", str(report.audit))
        self.assertLen(report.audit.to_dict()["assumptions"], 4)

    def test_several_claims_are_listed(self):
        inputs = keras.Input((2,))
        x = OwnFivefold(name="first")(inputs)
        model = keras.Model(inputs, Fivefold(name="second")(x))
        self.assertIn(
            "of layers 'first', 'second'", audit(model, steps=None).basis
        )
