import json
from unittest import mock

import pytest

from keras_lip import applications
from keras_lip.applications import published_weights
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy
from tests.load_script import load_experiment
from tests.marks import on_pytorch_alone

pytestmark = [on_pytorch_alone, pytest.mark.slow]


class PublishWeightsTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.script = load_experiment("publish_weights")
        recipes = load_experiment("recipes")
        recipe = recipes.load_recipe("fc3-small", "digits")
        self.network = recipes.build_network(recipe, "digits")
        self.run_folder = self.temporary_path("run")
        self.run_folder.mkdir()
        self.network.save(self.run_folder / "model.keras")
        result = {
            "recipe": "fc3-small",
            "dataset": "digits",
            "clean": 0.5,
            "certified": {"0.1": 0.25},
        }
        (self.run_folder / "result.json").write_text(json.dumps(result))
        report = {
            "method": "margin",
            "num_samples": 2,
            "batch_sizes": [2],
            "certified_accuracy": [{"epsilon": 0.1, "accuracy": 0.25}],
            "radius": [0.1, 0.2],
            "worst_margin": [[0.1, 0.0], [0.2, 0.0]],
        }
        (self.run_folder / "report.json").write_text(json.dumps(report))
        self.folder = self.temporary_path("weights")

    def publish(self, name):
        with mock.patch("builtins.print"):
            self.script.main(
                [
                    str(self.run_folder),
                    "--name",
                    name,
                    "--description",
                    "Three layers.",
                    "--folder",
                    str(self.folder),
                ]
            )

    def test_published_weights_are_those_of_the_run(self):
        for name in ("one", "two", "one"):
            self.publish(name)
        with mock.patch.object(published_weights, "_FOLDER", self.folder):
            listed = applications.list_weights("FullyConnected3")
            model = applications.FullyConnected3(weights="one")
        self.assertEqual([each.name for each in listed], ["two", "one"])
        self.assertEqual(listed[0].certified_accuracy, {0.1: 0.25})
        self.assertEqual(listed[0].description, "Three layers.")
        (report,) = self.folder.glob("*_two.report.json")
        self.assertEqual(
            set(json.loads(report.read_text())),
            {"method", "num_samples", "certified_accuracy"},
        )
        x = self.normal(2, 8, 8, 1)
        self.assertAllClose(to_numpy(model(x)), to_numpy(self.network(x)))

    def test_large_files_are_refused(self):
        with (
            mock.patch.object(self.script, "LARGEST", 10),
            self.assertRaisesRegex(SystemExit, "at most 10 bytes"),
        ):
            self.publish("one")
