import json
from unittest import mock

import numpy as np
import pytest
from absl.testing import parameterized

from keras_lip import losses
from keras_lip import metrics
from keras_lip.certificates import certify
from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = pytest.mark.slow


class ParetoFrontTest(LipschitzTestCase):
    @on_pytorch_alone
    def test_smoke_run_trades_accuracy_for_robustness(self):
        script = load_example("pareto_front")
        output = self.temporary_path("pareto_front")
        with mock.patch("builtins.print"):
            script.main(["--smoke", "--output", str(output)])
        self.assertEqual(
            sorted(path.name for path in output.iterdir()),
            ["pareto_front.json", "pareto_front.png"],
        )
        results = json.loads((output / "pareto_front.json").read_text())
        low, high, hkr = results["networks"]
        self.assertEqual((low["temperature"], hkr["alpha"]), (1.0, 1.0))
        for row in (low, high, hkr):
            first, second = row["certified"]
            self.assertGreaterEqual(row["accuracy"], first)
            self.assertGreaterEqual(first, second)
        # A low temperature asks for wide margins.
        self.assertGreater(low["mean_radius"], high["mean_radius"])
        self.assertGreater(low["certified"][1], high["certified"][1])
        self.assertGreater(low["mcr"], high["mcr"])
        for row in (low, high, hkr):
            # Errors count negatively.
            self.assertLess(row["mcr"], row["mean_radius"])
        self.assertLen(results["fronts"], 3)
        for index, front in enumerate(results["fronts"]):
            points = [script.list_points(row)[index] for row in (low, high)]
            for point in front:
                for other in points:
                    self.assertFalse(
                        other[0] > point[0] and other[1] > point[1]
                    )

    def test_mcr_is_that_of_the_metric(self):
        script = load_example("pareto_front")
        model = script.make_network(4, 6, 1)
        x, y = self.normal(32, 4), np.arange(32) % 10
        report = certify(model, x, y)
        found = script.mean_certifiable_robustness(report)
        model.compile(
            loss=losses.MulticlassHinge(1.0),
            metrics=[metrics.MeanCertifiableRobustness(name="mcr")],
        )
        expected = model.evaluate(x, y, verbose=0, return_dict=True)["mcr"]
        self.assertAllClose(found, expected, rtol=1e-4)
        self.assertNotAlmostEqual(found, np.mean(report.radius))

    @parameterized.parameters(
        ([(0.9, 0.5)], [(0.9, 0.5)]),
        ([(0.8, 0.6), (0.9, 0.5), (0.7, 0.4)], [(0.9, 0.5), (0.8, 0.6)]),
        ([(0.9, 0.5), (0.9, 0.6), (0.8, 0.6)], [(0.9, 0.6)]),
        ([(0.9, 0.5), (0.9, 0.5)], [(0.9, 0.5)]),
    )
    def test_the_front(self, points, front):
        script = load_example("pareto_front")
        self.assertEqual(script.find_front(points), front)

    def test_losses_have_the_value(self):
        script = load_example("pareto_front")
        loss = script.make_loss("temperature", 4.0, 0.5)
        self.assertIsInstance(
            loss, losses.TemperatureSparseCategoricalCrossentropy
        )
        self.assertEqual(loss.temperature, 4.0)
        loss = script.make_loss("alpha", 3.0, 0.5)
        self.assertEqual((loss.alpha, loss.margin), (3.0, 0.5))
