import itertools

import keras
import numpy as np

from keras_lip import layers as lip
from keras_lip.certificates import certified_auroc
from keras_lip.certificates import certify
from keras_lip.program import freeze
from tests.lipschitz_test_case import LipschitzTestCase
from tests.marks import on_pytorch_alone


def measure_auroc(scores, positive):
    """Returns the share of pairs in order. Half of the ties count."""
    gaps = scores[positive][:, None] - scores[~positive]
    return np.mean((gaps > 0) + 0.5 * (gaps == 0))


class CertifiedAUROCTest(LipschitzTestCase):
    def make_network(self):
        return keras.Sequential(
            [
                keras.Input((2,)),
                lip.OrthogonalDense(8),
                lip.MaxMin(),
                lip.OrthogonalDense(8),
                lip.MaxMin(),
                lip.UnitNormDense(1),
            ]
        )

    def test_no_point_of_a_grid_breaks_the_bound_of_a_network(self):
        model = self.make_network()
        x, labels = self.normal(24, 2), np.arange(24) % 2
        report = certify(model, x, labels)
        program, positive = freeze(model), labels == 1
        # Points of discs, their centers and edges among them.
        angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        disc = np.concatenate([r * circle for r in np.linspace(0, 1, 9)])
        gaps = []
        for epsilon in (0.0, 0.05, 0.2, 0.6):
            bound = certified_auroc(
                report.logits[:, 0],
                report.label,
                epsilon,
                report.lipschitz_bound,
                report.margin_error,
            )
            points = x.astype("float64")[:, None] + epsilon * disc
            scores = program.run(points.reshape(-1, 2)).reshape(24, -1)
            # Each sample moves alone, so the worst of each is the worst.
            worst = np.where(positive, scores.min(axis=1), scores.max(axis=1))
            found = measure_auroc(worst, positive)
            self.assertLessEqual(bound, found)
            gaps.append(found - bound)
        self.assertAllClose(gaps[0], 0.0, atol=1e-12)
        self.assertLess(max(gaps), 0.3)

    def test_all_perturbations_of_a_linear_score_are_tried(self):
        # Each score can reach both ends, and does so independently.
        scores = np.array([1.0, 2.0, 5.0, 0.0, 2.5])
        positive = np.array([True, True, True, False, False])
        for epsilon in (0.0, 0.2, 0.3, 0.6, 1.2, 3.0):
            shifts = itertools.product((-2 * epsilon, 2 * epsilon), repeat=5)
            worst = min(
                measure_auroc(scores + shift, positive) for shift in shifts
            )
            found = certified_auroc(scores, positive, epsilon, 2.0, 0.0)
            self.assertAllClose(found, worst, atol=1e-12)
            self.assertLessEqual(found, worst)

    @on_pytorch_alone
    def test_pairs_are_counted(self):
        scores = np.array([1.0, 2.0, 5.0, 0.0, 2.0])
        labels = [1, 1, 1, 0, 0]
        # Four pairs are in order, and the tie of 2 is none.
        for radius, pairs in ((0.0, 4), (0.24, 4), (0.26, 3), (0.8, 1), (2, 0)):
            found = certified_auroc(scores, labels, radius, 2.0, 0.0)
            self.assertAllClose(found, pairs / 6)
            self.assertLessEqual(found, pairs / 6)
        # Errors of scores add to the shift, of all samples or of each.
        for errors in (0.52, [0.52] * 5, [0.0, 0.0, 0.0, 1.04, 0.0]):
            found = certified_auroc(scores, labels, 0.0, 2.0, errors)
            self.assertAllClose(found, 3 / 6)
        found = certified_auroc(scores, labels, 0.0, 2.0, np.inf)
        self.assertEqual(found, 0.0)
        # A constant score never moves.
        self.assertAllClose(certified_auroc(scores, labels, 9, 0, 0), 4 / 6)

    @on_pytorch_alone
    def test_a_pair_that_just_ties_is_not_proven(self):
        self.assertEqual(certified_auroc([1.0, 0.0], [1, 0], 0.5, 1, 0), 0.0)
        below = np.nextafter(0.5, 0) - 1e-15
        self.assertEqual(certified_auroc([1.0, 0.0], [1, 0], below, 1, 0), 1.0)

    @on_pytorch_alone
    def test_what_is_no_score_or_label_is_refused(self):
        good = {
            "scores": [1.0, 0.0],
            "labels": [1, 0],
            "epsilon": 0.1,
            "lipschitz_bound": 1.0,
            "errors": 0.0,
        }
        for name, values, message in (
            ("scores", [[1.0], [0.0]], "`scores` must contain finite"),
            ("scores", [1.0, np.nan], "with NaN or infinity"),
            ("scores", ["a", "b"], "`scores` must contain numbers"),
            ("labels", [1, 0, 0], "`labels` must be 0 or 1"),
            ("labels", [2, 0], "`labels` must be 0 or 1"),
            ("labels", [-1, 1], "`labels` must be 0 or 1"),
            ("labels", [1, 1], "a positive and a negative sample.*labels 1"),
            ("epsilon", -0.1, "`epsilon` must be"),
            ("epsilon", np.inf, "`epsilon` must be"),
            ("lipschitz_bound", np.inf, "`lipschitz_bound` must be"),
            ("lipschitz_bound", -1.0, "`lipschitz_bound` must be"),
            ("errors", -1.0, "`errors` must be a non-negative"),
            ("errors", [0.0, np.nan], "`errors` must be a non-negative"),
            ("errors", [0.0] * 3, "`errors` must be a non-negative"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                certified_auroc(**{**good, name: values})
