from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import certificates
from keras_lip import layers
from keras_lip.certificates.pair_bounds import bound_pairs
from keras_lip.models.exporting.probe_artifact import Probes
from keras_lip.models.exporting.probe_artifact import make_probes
from keras_lip.program import freeze
from tests.lipschitz_test_case import LipschitzTestCase

# What the artifact of two inputs answers: one regular, one that is not.
RIGHT = {"label": [1, 0], "radius": [0.4, 0.0]}


class ProbeArtifactTest(LipschitzTestCase):
    def check(self, logits, used=0.5, **outputs):
        probes = Probes(
            np.array([[0.0, 0.6], [np.nan, 0.0]], "float32"),
            np.array([[0.0, 0.6]]),
            None,
            np.array([0.42]),
        )
        radius = mock.Mock()
        radius.check.return_value = used
        found = {
            name: np.asarray(values, "float32")
            for name, values in {**RIGHT, **outputs}.items()
        }
        found["logits"] = np.array([logits, [0, 0]], "float32")
        return probes.check(found, radius)

    def test_right_answers_pass(self):
        self.assertEqual(self.check([0.0, 0.6]), 0.5)

    @parameterized.parameters(
        ([0.0, 0.6], {"label": [0, 0]}, "labels do not match"),
        ([0.0, 0.6], {"radius": [0.43, 0.0]}, "larger than the proven"),
        ([0.0, 0.6], {"radius": [np.nan, 0.0]}, "larger than the proven"),
        ([0.0, 0.6], {"radius": [0.4, 1e-3]}, "not finite are not zero"),
        ([0.0, 0.6], {"radius": [0.4, np.nan]}, "larger than the proven"),
        # A wrong class within the tolerance, as its own logits have it.
        ([0.61, 0.6], {"label": [0, 0]}, "larger than the proven"),
    )
    def test_wrong_answers_are_refused(self, logits, outputs, message):
        with self.assertRaisesRegex(RuntimeError, message):
            self.check(logits, **outputs)

    def test_wrong_class_without_a_radius_passes(self):
        self.check([0.61, 0.6], label=[0, 0], radius=[0.0, 0.0])

    @parameterized.parameters(1.01, np.inf, np.nan)
    def test_logits_beyond_the_tolerance_are_refused(self, used):
        with self.assertRaisesRegex(ValueError, "`logit_tolerance` allows"):
            self.check([0.0, 0.6], used)

    def test_probes_are_what_certify_proves(self):
        model = keras.Sequential([keras.Input((3,)), layers.UnitNormDense(4)])
        given = self.rng.uniform(0, 1, (5, 3))
        program = freeze(model)
        bounds = bound_pairs(program, program.bounds("l2"))
        probes = make_probes(model, program, bounds, given)
        count = len(probes.logits)
        regular, hostile = probes.x[:count], probes.x[count:]
        self.assertAllClose(regular[-5:], given)
        # NaN is less than nothing, and a square of 1e40 is infinite.
        self.assertFalse((np.abs(hostile) < 1e20).all(axis=1).any())
        self.assertAllClose(
            probes.radius, certificates.certified_radius(model, regular)
        )
