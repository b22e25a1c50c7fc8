import numpy as np
from absl.testing import parameterized

from keras_lip.certificates.attacks.certified_claims import CertifiedClaims
from keras_lip.certificates.attacks.falsified_certificate import (
    FalsifiedCertificate,
)
from keras_lip.certificates.attacks.perturbation_ball import PerturbationBall
from keras_lip.certificates.reports.certification_report import (
    CertificationReport,
)
from tests.lipschitz_test_case import LipschitzTestCase


class Logits:
    """Stands for an `AttackedModel` of a function, off by 1e-12."""

    def __init__(self, function):
        self.function = function

    def evaluate(self, points):
        return self.function(points), np.full(len(points), 1e-12)


class CertifiedClaimsTest(LipschitzTestCase):
    def make_claims(self, model, radius):
        """The claim that class 0 is the answer around the origin."""
        radius = np.array([radius])
        report = CertificationReport(
            model_name="model",
            lipschitz_bound=1.0,
            method="",
            epsilons=(),
            radius=radius,
            prediction=np.array([0]),
            label=np.array([0]),
        )
        ball = PerturbationBall(np.zeros((1, 2)), radius * 0.99, "l2", None)
        return CertifiedClaims(Logits(model), ball, report, slice(0, 1))

    def affine(self, x):
        """The second class leads where the first entry is above one."""
        return np.stack([np.ones(len(x)), x[:, 0]], axis=1)

    def test_point_that_is_out_counts_where_it_is_pulled_in(self):
        claims = self.make_claims(self.affine, 1.5)
        point = np.array([[1.6, 0.0]])
        self.assertEqual(claims.check(point).tolist(), [True])
        self.assertAlmostEqual(claims.nearest, 1.6 / 1.5)
        with self.assertRaises(FalsifiedCertificate) as caught:
            claims.check_within(point)
        self.assertAlmostEqual(caught.exception.distance, 1.485)
        # Pulled in, this one is answered as it should be.
        claims = self.make_claims(self.affine, 1.0)
        claims.check_within(point)
        self.assertAlmostEqual(claims.nearest, 1.6)

    @parameterized.parameters((1e-14, False), (1e-11, True))
    def test_margin_is_negative_by_more_than_its_rounding(self, lead, counts):
        claims = self.make_claims(lambda x: np.array([[1.0, 1.0 + lead]]), 1.0)
        point = np.array([[0.5, 0.5]])
        if not counts:
            self.assertEqual(claims.check(point).tolist(), [False])
            return
        with self.assertRaisesRegex(FalsifiedCertificate, "sample 0 is false"):
            claims.check(point)

    def test_points_and_logits_that_are_no_numbers_count_for_nothing(self):
        claims = self.make_claims(self.affine, 1.0)
        point = np.array([[np.nan, 0.0]])
        self.assertEqual(claims.check(point).tolist(), [False])
        claims = self.make_claims(lambda x: np.full((1, 2), np.nan), 1.0)
        self.assertEqual(claims.check(np.zeros((1, 2))).tolist(), [False])
        self.assertEqual(claims.nearest, np.inf)

    def test_nearest_change_is_found_past_the_worst_point(self):
        claims = self.make_claims(self.affine, 0.25)
        claims.check(np.array([[0.0, 0.2]]))
        claims.check(np.array([[0.2, 0.0]]))
        claims.check(np.array([[0.1, 0.1]]))
        claims.walk_out()
        self.assertAlmostEqual(claims.nearest, 4.0, delta=4e-3)
