import json
from unittest import mock

import keras
import numpy as np
import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_example

pytestmark = pytest.mark.slow


class QuickstartTest(LipschitzTestCase):
    def test_smoke_run_writes_everything(self):
        output = self.temporary_path("quickstart")
        arguments = ["quickstart.py", "--smoke", "--output", str(output)]
        # What an earlier run wrote is replaced.
        output.mkdir()
        (output / "report.html").write_text("old")
        with mock.patch("sys.argv", arguments), mock.patch("builtins.print"):
            script = load_example("quickstart")
            script.main()
        page = (output / "report.html").read_text()
        self.assertIn("<table>", page)
        self.assertIn("<h2>Saliency</h2>", page)
        self.assertEqual(
            sorted(path.name for path in output.iterdir()),
            [
                "certified_accuracy.png",
                "model.keras",
                "report.html",
                "report.json",
                "stock_model.keras",
            ],
        )
        report = json.loads((output / "report.json").read_text())
        model = keras.models.load_model(output / "model.keras")
        stock = keras.models.load_model(output / "stock_model.keras")
        (_, _), (x, y) = script.load_data("digits", 0)
        self.assertAllClose(stock(x), model(x), 1e-5)
        predicted = np.argmax(keras.ops.convert_to_numpy(model(x)), axis=-1)
        self.assertAllClose(report["accuracy"], np.mean(predicted == y))

    def test_held_out_part_is_a_stratified_quarter(self):
        script = load_example("quickstart")
        (x_train, y_train), (x_test, y_test) = script.load_data("digits", 3)
        self.assertEqual((len(x_train), len(x_test)), (1347, 450))
        shares = np.bincount(y_test) / np.bincount(np.r_[y_train, y_test])
        self.assertAllClose(shares, np.full(10, 0.25), 0.01)
        self.assertEqual((x_train.min(), x_train.max()), (0.0, 1.0))

    def test_noise_is_new_every_epoch_and_labels_follow(self):
        script = load_example("quickstart")
        x, y = np.arange(10.0)[:, None], np.arange(10)
        data = script.NoisyImages(x, y, batch_size=4, stddev=0.01, seed=0)
        self.assertLen(data, 3)
        epochs = []
        for _ in range(2):
            batches = [data[index] for index in range(3)]
            images, labels = (
                np.concatenate(part) for part in zip(*batches, strict=True)
            )
            self.assertAllClose(images[:, 0], labels, 0.1)
            self.assertEqual(sorted(labels), list(range(10)))
            epochs.append(images[np.argsort(labels)])
            data.on_epoch_end()
        self.assertGreater(np.abs(epochs[0] - epochs[1]).min(), 0)
