import json
from unittest import mock

import keras
import numpy as np
import pytest

from keras_lip.certificates import certify
from keras_lip.certificates import fisher_rao_distance
from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = pytest.mark.slow


class ProbabilitiesTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.script = load_example("probabilities")

    @on_pytorch_alone
    def test_smoke_run_finds_no_violation(self):
        output = self.temporary_path("probabilities")
        with mock.patch("builtins.print"):
            self.script.main(["--smoke", "--output", str(output)])
        self.assertEqual(
            sorted(path.name for path in output.iterdir()),
            ["probabilities.json", "probabilities.png"],
        )
        path = output / "probabilities.json"
        results = json.loads(path.read_text())
        for row in results["radii"].values():
            self.assertNotEmpty(row["found"])
            self.assertEqual(row["violations"], 0)
            self.assertLess(row["largest_share_of_bound"], 1.0)
            for radii in row["proven"].values():
                self.assertTrue(np.all(np.less(radii, row["found"])))
            self.assertTrue(
                np.all(
                    np.greater_equal(
                        row["proven"]["margins"], row["proven"]["Fisher-Rao"]
                    )
                )
            )
        spectrum = results["spectrum"]
        self.assertLess(max(spectrum["largest"]), spectrum["limit"])
        self.assertEqual(sum(spectrum["ranks"]), 40)
        self.assertLen(spectrum["ranks"], 10)

    def make_linear(self, kernel):
        model = keras.Sequential(
            [
                keras.Input((len(kernel),)),
                keras.layers.Dense(kernel.shape[1], use_bias=False),
            ]
        )
        model.set_weights([kernel])
        return model

    def test_the_search_finds_the_exact_distance(self):
        # Two classes of a linear model: the log-odds are linear.
        kernel = np.array([[0.3, -0.3], [0.4, -0.4]])
        model = self.make_linear(kernel)
        x = np.array([[2.0, 2.0], [1.0, 3.0]], "float32")
        chosen = np.array([[True, False]] * 2)
        _, found = self.script.search(model, x, chosen, 0.7, temperature=2.0)
        odds = 2.0 * (x @ kernel) @ [1.0, -1.0]
        exact = (odds - np.log(0.7 / 0.3)) / 2.0
        self.assertAllClose(found, exact, 1e-2)
        self.assertTrue(np.all(found >= exact - 1e-6))

    def test_the_radius_is_used_up_at_the_edge(self):
        model = self.make_linear(0.5 * np.array([[1.0, -1, 0], [0, 1, -1.0]]))
        x, temperature = self.normal(20, 2), 3.0
        report = certify(model, x, np.zeros(20, "int64"))
        p = self.script.softmax(temperature * report.logits)
        chosen = np.array([True, False, True])
        probability = p[:, chosen].sum(axis=1)
        radii = self.script.fisher_rao_radius(
            report, probability, 0.4, temperature
        )
        share = np.where(chosen, 0.4, 0.6) / np.where(
            chosen, probability[:, None], 1 - probability[:, None]
        )
        # The closest distribution on the edge.
        distances = fisher_rao_distance(p, share * p)
        above = probability > 0.4
        self.assertTrue(above.any() and not above.all())
        self.assertTrue(np.all(radii[~above] == 0))
        for radius, distance in zip(
            radii[above], distances[above], strict=True
        ):
            bound = report.fisher_rao_bound(float(radius), temperature)
            self.assertAllClose(bound, distance, 1e-6)

    def test_the_rate_of_steep_probabilities_is_not_cut_off(self):
        # The bound of a thousandth of their distance is already pi.
        model, temperature = self.make_linear(1e4 * np.eye(2)), 2.0
        report = certify(model, np.array([[1e-4, 0.0]]), [0])
        (radius,) = self.script.fisher_rao_radius(
            report, np.array([0.9]), 0.5, temperature
        )
        angle = np.arccos(np.sqrt(0.5)) - np.arccos(np.sqrt(0.9))
        self.assertAllClose(report.fisher_rao_bound(1e-3, temperature), np.pi)
        exact = 2 * angle / (0.5 * temperature * 1e4 * np.sqrt(2))
        self.assertAllClose(radius, exact, 0, 1e-6)

    def test_a_note_that_is_right_helps(self):
        labels = np.array([0, 1, 2, 3])
        # The second choice is right, and of the other parity.
        logits = np.zeros((4, 10))
        logits[np.arange(4), labels] = 1.0
        logits[np.arange(4), labels + 1] = 2.0
        row = self.script.read_note(logits, labels, 1.0, trust=1 - 1e-9)
        self.assertEqual(row["accuracy"], 0.0)
        self.assertEqual(row["accuracy_with_note"], 1.0)
