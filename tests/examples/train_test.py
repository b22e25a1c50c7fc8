import csv
import errno
import json
import os
import sys
from unittest import mock

import keras
import numpy as np
import pytest
from absl.testing import parameterized

import keras_lip as kl
from tests.examples.load_example import load_example
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


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
        script = load_example("train")
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
        recipes = load_example("recipes")
        original = recipes.load_recipe

        def load(*args):
            found = original(*args)
            found.arguments.update(width=2, units=8)
            return found

        return mock.patch.object(load_example("train"), "load_recipe", load)

    # The log of the run that is stopped stays open.
    @pytest.mark.filterwarnings(
        "ignore::pytest.PytestUnraisableExceptionWarning"
    )
    def test_run_that_is_stopped_goes_on_to_the_same_weights(self):
        arguments = ("--epochs", "3", "--deterministic")
        checkpoints = load_example("checkpoints").Checkpoints
        save = checkpoints.on_epoch_end

        def stop(callback, epoch, logs=None):
            if epoch == 2:
                raise Stopped
            save(callback, epoch, logs)

        # It would last for all tests that follow.
        script = load_example("train")
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
        for one, other in zip(
            self.weights(whole), self.weights(parts), strict=True
        ):
            self.assertAllClose(one, other, 0)
        self.assertEqual(deterministic.call_count, 3)
        self.assertIn("after 2 of 3", self.printed)
        logs = []
        for output in (whole, parts):
            with open(output / "log.csv", newline="") as file:
                logs.append(list(csv.DictReader(file)))
        self.assertEqual(logs[0], logs[1])
        self.assertEqual([row["epoch"] for row in logs[1]], ["0", "1", "2"])

    def test_backend_is_asked_to_sum_in_one_order(self):
        script = load_example("train")
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
        images = load_example("image_data")
        _, (x, y) = images.load_images("digits")
        report = kl.certificates.certify(model, images.scale_images(x), y)
        self.assertEqual(result["clean"], report.accuracy)
        self.assertEqual(
            result["certified"]["0.1"], report.certified_accuracy(0.1)
        )
        self.assertEqual(result["part"], "test")
        results = load_example("results")
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
        evaluate = load_example("evaluate")
        with mock.patch("builtins.print"):
            evaluate.main(
                [
                    *(str(output / "model.keras"), "--dataset", "digits"),
                    *("--samples", "20", "--attacked-samples", "4"),
                    *("--attack-steps", "2", "--points", "2"),
                ]
            )
        found = json.loads((output / "evaluation/evaluation.json").read_text())
        self.assertLen(found["singular_values"], 4)
        for extremes in found["singular_values"].values():
            self.assertAllClose(extremes, [1, 1], 1e-4)
        self.assertLess(
            found["empirical_lipschitz_constant"], found["lipschitz_bound"]
        )
        page = (output / "evaluation/evaluation.html").read_text()
        self.assertEqual(page.count("data:image/png;base64,"), 2)
        with self.assertRaisesRegex(SystemExit, r"shape \(28, 28, 1\)"):
            evaluate.load_classifier(output / "model.keras", "mnist")
        (output / "model.keras").write_bytes(b"PK")
        with self.assertRaisesRegex(SystemExit, "no whole Keras model"):
            evaluate.load_classifier(output / "model.keras", "digits")

    def test_curvature_head_is_trained_on_its_features(self):
        train, recipes = load_example("train"), load_example("recipes")
        recipe = recipes.load_recipe("lipconvnet-15-crc", "cifar10")
        digits = recipes.load_recipe("small-bcop", "digits")
        arguments = {"width": 2, "units": 8, "head": "curvature"}
        for inputs in ("unit", "centered"):
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


class ImageDataTest(LipschitzTestCase):
    def make_batches(self, **kwargs):
        images = np.arange(20, dtype="uint8").reshape(10, 1, 2, 1)
        module = load_example("image_data")
        return module.ImageBatches(images, np.arange(10), 4, 0, **kwargs)

    def test_pipeline_yields_what_the_batches_hold(self):
        batches = self.make_batches()
        pipeline = list(load_example("image_data").to_pipeline(batches, 2))
        self.assertLen(pipeline, 4)
        for number, (images, labels) in enumerate(pipeline):
            expected = batches.get(number // 2, number % 2)
            self.assertAllClose(np.array(images), expected[0], 0)
            self.assertAllClose(np.array(labels), expected[1], 0)
            pairs = np.stack([2 * labels, 2 * labels + 1], axis=1)
            self.assertAllClose(np.array(images)[:, 0, :, 0] * 255, pairs)
        later = self.make_batches(first_epoch=1)
        self.assertAllClose(later[1][0], batches.get(1, 1)[0], 0)
        first, second = (batches.get(epoch, 0)[1] for epoch in (0, 1))
        self.assertFalse(np.array_equal(first, second))
        with mock.patch("importlib.util.find_spec", return_value=None):
            module = load_example("image_data")
            self.assertIs(module.to_pipeline(batches, 2), batches)
        batches.on_epoch_end()
        self.assertAllClose(batches[1][0], later[1][0], 0)

    def test_images_move_whole(self):
        move = load_example("image_data").move
        images = np.zeros((64, 5, 5, 1), "uint8")
        images[:, 2, 2] = 7
        moved = move(images, 2, np.random.default_rng(0))
        self.assertAllClose(moved.sum(axis=(1, 2, 3)), np.full(64, 7))
        _, rows, columns, _ = np.nonzero(moved)
        self.assertEqual({*rows}, set(range(5)))
        self.assertEqual({*columns}, set(range(5)))
        self.assertGreater(np.mean(rows != columns), 0.5)

    def test_data_of_a_file_is_checked(self):
        load = load_example("image_data").load_images
        folder = self.temporary_path("data")
        folder.mkdir()
        x, y = np.zeros((3, 28, 28), "uint8"), np.arange(3)
        parts = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
        np.savez(folder / "mnist.npz", **parts)
        (images, labels), _ = load("mnist", folder)
        self.assertEqual(images.shape, (3, 28, 28, 1))
        self.assertEqual(labels.dtype, "int64")
        for changes, message in (
            ({"x_test": x[:, 1:]}, "must hold images of shape"),
            ({"x_train": x / 255}, "must hold images of shape"),
            ({"y_test": y + 10}, "labels from 0 to 9"),
            ({"y_train": y[1:]}, "as many labels"),
        ):
            np.savez(folder / "mnist.npz", **{**parts, **changes})
            with self.assertRaisesRegex(SystemExit, message):
                load("mnist", folder)
        np.savez(folder / "mnist.npz", x_train=x)
        with self.assertRaisesRegex(SystemExit, "Missing: y_train"):
            load("mnist", folder)
        with self.assertRaisesRegex(SystemExit, "must be one of digits"):
            load("emnist")
        with mock.patch.dict(sys.modules, {"tensorflow_datasets": None}):
            with self.assertRaisesRegex(SystemExit, r"keras-lip\[data\]"):
                load("mnist")


class RecipesTest(LipschitzTestCase):
    def recipes(self):
        module = load_example("recipes")
        return module, list(module.tomllib.loads(module.FILE.read_text()))

    def test_every_recipe_is_whole(self):
        module, names = self.recipes()
        for name in names:
            recipe = module.load_recipe(name, "cifar10")
            optimizer = module.build_optimizer(recipe, 1000)
            rates = [
                float(
                    keras.ops.convert_to_numpy(optimizer._learning_rate(step))
                )
                for step in range(0, 1001, 10)
            ]
            self.assertAllClose(max(rates), recipe.learning_rate, 1e-5)
            self.assertLess(rates[-1], 0.011 * recipe.learning_rate)
            if recipe.loss["class"] != "CurvatureCrossentropy":
                module.build_loss(recipe)

    def test_entries_of_the_data_set_replace_others(self):
        module, _ = self.recipes()
        recipe = module.load_recipe("small-rko", "mnist")
        self.assertEqual(recipe.loss["margin"], 2.12)
        self.assertEqual(recipe.arguments, {"convolution": "rko"})
        self.assertEqual(recipe.paper, {})
        self.assertEqual((recipe.crop, recipe.flip), (0, False))
        recipe = module.load_recipe("large-rko", "cifar10")
        self.assertEqual(recipe.loss["margin"], 0.7071)
        self.assertEqual((recipe.crop, recipe.flip), (4, True))
        self.assertEqual(recipe.paper["clean"], 70.01)
        self.assertEqual(module.load_recipe("fc3", "mnist").arguments, {})

    @parameterized.parameters(
        ("[a]\nextends = 'b'", "recipe must be one of a"),
        ("[a]\nnetwork = 'Net'", "network must be one of"),
        ("[a]\nwidth = 3", "entry of the recipe a must be one of"),
        ("[a]\nschedule = {kind='flat'}", "schedule must be one of"),
        ("[a]\ninputs = 'raw'", "inputs must be one of"),
    )
    def test_unknown_entry_lists_the_known_ones(self, text, message):
        module, _ = self.recipes()
        whole = (
            "network = 'SmallConvNet'\narguments = {}\nloss = {}\n"
            "optimizer = {}\nlearning_rate = 1.0\nepochs = 1\n"
            "schedule = {kind = 'triangular'}\nbatch_size = 1\n"
        )
        kept = [
            line
            for line in whole.splitlines()
            if line.split(" =")[0] not in text
        ]
        file = self.temporary_path("recipes.toml")
        file.write_text("\n".join([text, *kept]))
        with self.assertRaisesRegex(SystemExit, message):
            module.load_recipe("a", "mnist", file)
        with self.assertRaisesRegex(SystemExit, "recipe must be one of"):
            module.load_recipe("huge", "mnist")
        with self.assertRaisesRegex(SystemExit, "data set must be one of"):
            module.load_recipe("fc3", "emnist")

    def test_normalization_counts_in_the_constant(self):
        module, _ = self.recipes()
        digits = module.load_recipe("small-bcop", "digits")
        arguments = {"width": 2, "units": 8}
        bounds = {}
        for inputs in ("unit", "centered", "normalized"):
            recipe = module.dataclasses.replace(
                digits, arguments=arguments, inputs=inputs
            )
            network = module.build_network(recipe, "digits")
            bounds[inputs] = kl.bounds.lipschitz_bound(network)
        self.assertAllClose(bounds["unit"], 1.0, 1e-4)
        self.assertAllClose(bounds["centered"], 1.0, 1e-4)
        stddev = load_example("image_data").DATASETS["digits"].stddev[0]
        self.assertAllClose(bounds["normalized"], 1 / stddev, 1e-4)
