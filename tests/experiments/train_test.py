import csv
import dataclasses
import errno
import json
import os
from unittest import mock

import keras
import numpy as np
import pytest

import keras_lip as kl
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy
from tests.load_script import load_experiment
from tests.marks import on_pytorch_alone

pytestmark = pytest.mark.slow


class Stopped(BaseException):
    """What stands for a kill."""


class Ended(BaseException):
    """What ends a run after its training."""


class TrainTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.temporary_path("runs")

    def train(self, *arguments, name="run", evaluate=False):
        """Runs the script, without the evaluation that takes the most time."""
        output = self.folder / name
        script = load_experiment("train")
        arguments = [
            *("--recipe", "small-bcop", "--dataset", "digits"),
            *("--samples", "96", "--attacked-samples", "2"),
            *("--attack-steps", "2", "--verbose", "0"),
            *("--output", str(output), *arguments),
        ]
        with mock.patch("builtins.print") as printed:
            if evaluate:
                script.main(arguments)
            else:
                with mock.patch.object(script, "evaluate", side_effect=Ended):
                    self.assertRaises(Ended, script.main, arguments)
        lines = (str(call.args[0]) for call in printed.call_args_list)
        self.printed = "\n".join(lines)
        return output

    def weights(self, output):
        model = keras.models.load_model(output / "model.keras")
        return [to_numpy(weight) for weight in model.weights]

    def make_small(self):
        """Replaces the recipe's sizes by small ones."""
        recipes = load_experiment("recipes")
        original = recipes.load_recipe

        def load(*args, **kwargs):
            found = original(*args, **kwargs)
            found.arguments.update(width=2, units=8)
            return found

        return mock.patch.object(load_experiment("train"), "load_recipe", load)

    # The log of the run that is stopped stays open.
    @pytest.mark.filterwarnings(
        "ignore::pytest.PytestUnraisableExceptionWarning"
    )
    def test_run_that_is_stopped_goes_on_to_the_same_weights(self):
        arguments = ("--epochs", "3", "--deterministic")
        checkpoints = load_experiment("checkpoints").Checkpoints
        save = checkpoints.on_epoch_end

        def stop(callback, epoch, logs=None):
            if epoch == 2:
                raise Stopped
            save(callback, epoch, logs)

        # It would last for all tests that follow.
        script = load_experiment("train")
        with (
            self.make_small(),
            mock.patch.object(script, "make_deterministic") as deterministic,
        ):
            whole = self.train(*arguments, name="whole")
            with mock.patch.object(checkpoints, "on_epoch_end", stop):
                with self.assertRaises(Stopped):
                    self.train(*arguments, name="parts")
            with self.assertRaisesRegex(SystemExit, "holds a run"):
                self.train(*arguments, name="parts")
            with self.assertRaisesRegex(SystemExit, "another run: settings"):
                self.train("--epochs", "4", "--resume", name="parts")
            parts = self.train(*arguments, "--resume", name="parts")
            self.assertIn("after 2 of 3", self.printed)
            # As after a stop in the evaluation.
            self.train(*arguments, "--resume", name="parts")
            self.assertIn("after 3 of 3", self.printed)
        for one, other in zip(
            self.weights(whole), self.weights(parts), strict=True
        ):
            self.assertAllClose(one, other, 0)
        self.assertEqual(deterministic.call_count, 4)
        logs = []
        for output in (whole, parts):
            with open(output / "log.csv", newline="") as file:
                logs.append(list(csv.DictReader(file)))
        self.assertEqual(logs[0], logs[1])
        for output in (whole, parts):
            epochs = json.loads((output / "times.json").read_text())
            self.assertLen(epochs, 3)
            for times in epochs:
                self.assertGreater(times["seconds"], 0)
                self.assertGreater(times["cpu_seconds"], 0)
        self.assertEqual([row["epoch"] for row in logs[1]], ["0", "1", "2"])

    def test_backend_is_asked_to_sum_in_one_order(self):
        script = load_experiment("train")
        backend = keras.backend.backend()
        if backend == "jax":
            with mock.patch.dict("os.environ", XLA_FLAGS="--flag"):
                script.make_deterministic()
                self.assertEqual(
                    os.environ["XLA_FLAGS"],
                    "--flag --xla_gpu_deterministic_ops=true",
                )
            return
        name = {
            "tensorflow": "tensorflow.config.experimental"
            ".enable_op_determinism",
            "torch": "torch.use_deterministic_algorithms",
        }[backend]
        with mock.patch(name) as ask, mock.patch.dict("os.environ"):
            script.make_deterministic()
        ask.assert_called_once()

    @on_pytorch_alone
    def test_damaged_checkpoint_is_refused_and_the_older_one_taken(self):
        with self.make_small():
            output = self.train("--epochs", "2")
            folder = output / "checkpoints"
            self.assertLen(list(folder.glob("*.h5")), 2)
            newest = folder / "00002.weights.h5"
            newest.write_bytes(newest.read_bytes()[:-100])
            self.train("--epochs", "2", "--resume")
            self.assertIn("Refused", self.printed)
            self.assertIn("after 1 of 2", self.printed)
            for path in folder.glob("*.h5"):
                path.write_bytes(b"")
            with self.assertRaisesRegex(SystemExit, "No checkpoint"):
                self.train("--epochs", "2", "--resume")

    # The log of the run that is stopped stays open.
    @pytest.mark.filterwarnings(
        "ignore::pytest.PytestUnraisableExceptionWarning"
    )
    @on_pytorch_alone
    def test_full_disk_loses_no_more_than_the_epoch(self):
        save = keras.Model.save_weights

        def fill(model, path, *args, **kwargs):
            save(model, path, *args, **kwargs)
            if "00002" in str(path):
                # What was written last is lost.
                os.truncate(path, os.path.getsize(path) // 2)
                raise OSError(errno.ENOSPC, "No space left on device")

        with self.make_small():
            with (
                mock.patch.object(keras.Model, "save_weights", fill),
                self.assertRaisesRegex(OSError, "No space"),
            ):
                self.train("--epochs", "2")
            output = self.train("--epochs", "2", "--resume")
        self.assertIn("Refused", self.printed)
        self.assertIn("after 1 of 2", self.printed)
        self.weights(output)

    @on_pytorch_alone
    def test_result_is_that_of_the_saved_model(self):
        with self.make_small():
            output = self.train(
                *("--epochs", "1", "--dtype-policy", "mixed_bfloat16"),
                evaluate=True,
            )
        result = json.loads((output / "result.json").read_text())
        model = keras.models.load_model(output / "model.keras")
        self.assertEqual(
            {layer.compute_dtype for layer in model.layers}, {"float32"}
        )
        images = load_experiment("image_data")
        _, (x, y) = images.load_images("digits")
        report = kl.certificates.certify(model, images.scale_images(x), y)
        self.assertEqual(result["clean"], report.accuracy)
        self.assertEqual(
            result["certified"]["0.1"], report.certified_accuracy(0.1)
        )
        self.assertEqual(result["part"], "test")
        self.assertEqual(result["dtype_policy"], "mixed_bfloat16")
        results = load_experiment("results")
        self.assertContainsSubset(results.SETTINGS, result)
        row = results.format_row({**result, "paper": {"clean": 97.5}}, "0.3")
        clean, certified = result["clean"], result["certified"]["0.3"]
        ours = f"{100 * clean:.2f} / {100 * certified:.2f}"
        self.assertIn(f"| `small-bcop` | 0.3 | 97.50 / – | {ours} |", row)
        with mock.patch("builtins.print") as printed:
            results.main([str(output / "result.json"), "--radius", "0.3"])
        unpublished = row.replace("97.50 / –", "–")
        self.assertIn(unpublished, printed.call_args.args[0])
        with mock.patch("sys.stderr"), self.assertRaises(SystemExit):
            results.main([str(output / "result.json"), "--radius", "7"])
        evaluate = load_experiment("evaluate")
        with mock.patch("builtins.print"):
            evaluate.main(
                [
                    *(str(output / "model.keras"), "--dataset", "digits"),
                    *("--samples", "20", "--attacked-samples", "4"),
                    *("--attack-steps", "2", "--points", "2"),
                ]
            )
        found = json.loads((output / "evaluation/evaluation.json").read_text())
        # The digests agree.
        read = results.read_result(output / "result.json")
        self.assertEqual(read["evaluation"], found)
        self.assertEqual(found["attacked_samples"], 4)
        self.assertLen(found["singular_values"], 4)
        for extremes in found["singular_values"].values():
            self.assertAllClose(extremes, [1, 1], 1e-4)
        self.assertLess(
            found["empirical_lipschitz_constant"], found["lipschitz_bound"]
        )
        self.assertIn("pgd_cw", evaluate.ATTACKS.values())
        self.assertContainsSubset(evaluate.ATTACKS, found["attacks"])
        page = (output / "evaluation/evaluation.html").read_text()
        self.assertEqual(page.count("data:image/png;base64,"), 2)
        with self.assertRaisesRegex(SystemExit, r"shape \(28, 28, 1\)"):
            evaluate.load_classifier(output / "model.keras", "mnist")
        (output / "model.keras").write_bytes(b"PK")
        with self.assertRaisesRegex(SystemExit, "not a valid Keras model"):
            evaluate.load_classifier(output / "model.keras", "digits")

    def test_loss_of_measured_constants_is_beside_the_proof(self):
        original = load_experiment("train").load_recipe

        def load(name, *args, **kwargs):
            found = original("liresnet-small", *args, **kwargs)
            found.arguments.update(depth=1, width=4, dense_depth=1, units=8)
            return dataclasses.replace(found, cutout=3)

        with mock.patch.object(load_experiment("train"), "load_recipe", load):
            output = self.train("--epochs", "1", evaluate=True)
        result = json.loads((output / "result.json").read_text())
        bound, estimate = result["margin_bound"], result["margin_estimate"]
        # On images of four by four pixels the norm is less than on any.
        self.assertBetween(estimate / bound, 0.7, 1 + 1e-5)
        with open(output / "log.csv", newline="") as file:
            (row,) = csv.DictReader(file)
        # There was a single batch, at the start of the schedule.
        self.assertAllClose(float(row["epsilon"]), 0.0141)

    def test_curvature_head_is_trained_on_its_features(self):
        train, recipes = load_experiment("train"), load_experiment("recipes")
        recipe = recipes.load_recipe("lipconvnet-15-crc", "cifar10")
        digits = recipes.load_recipe("small-bcop", "digits")
        arguments = {"width": 2, "units": 8, "head": "curvature"}
        for inputs in ("unit", "scaled"):
            recipe = recipes.dataclasses.replace(
                digits, loss=recipe.loss, arguments=arguments, inputs=inputs
            )
            classifier = recipes.build_network(recipe, "digits")
            old = [to_numpy(w) for w in classifier.trainable_weights]
            model = train.make_trained(classifier, recipe, 4, 0.1)
            x, y = self.normal(8, 8, 8, 1), np.arange(8)
            model.fit(x, dict.fromkeys(model.output, y), verbose=0)
            new = [to_numpy(w) for w in classifier.trainable_weights]
            for one, other, w in zip(
                old, new, classifier.trainable_weights, strict=True
            ):
                self.assertFalse(np.array_equal(one, other), w.path)
