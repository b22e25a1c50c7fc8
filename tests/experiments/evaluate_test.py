import json
import pathlib
from unittest import mock

import keras
import numpy as np
import pytest

import keras_lip as kl
from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_experiment
from tests.marks import on_pytorch_alone


class EvaluateTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.script = load_experiment("evaluate")

    def test_names_are_folders_or_numbered(self):
        paths = map(pathlib.Path, ["runs/a/model.keras", "runs/b/model.keras"])
        self.assertEqual(self.script.name_models(list(paths)), ["a", "b"])
        paths = map(pathlib.Path, ["x/a/model.keras", "y/a/model.keras"])
        self.assertEqual(self.script.name_models(list(paths)), ["a-1", "a-2"])

    def test_invalid_options_are_refused(self):
        for option, value in (
            ("--largest-radius", "0"),
            ("--largest-radius", "nan"),
            ("--decision-samples", "-1"),
            ("--decision-steps", "0"),
        ):
            with mock.patch("sys.stderr"), self.assertRaises(SystemExit):
                self.script.parse_arguments(
                    ["a.keras", "--dataset", "digits", option, value]
                )

    def test_curves_of_several_networks_are_in_one_figure(self):
        model = keras.Sequential(
            [keras.Input((2,)), kl.layers.UnitNormDense(2, use_bias=False)]
        )
        model.layers[0].free_kernel.assign(np.eye(2))
        # The distances of the boundary are 0.071 and 0.212.
        x, y = np.array([[0.55, 0.45], [0.65, 0.35]]), [0, 0]
        report = kl.certificates.certify(model, x, y, [0.1])
        epsilons = [0.0, 0.1, 0.3]
        attacks = {"PGD": dict(zip(epsilons, [1.0, 0.5, 0.5], strict=True))}
        evaluations = {"one": (report, attacks), "two": (report, attacks)}
        with mock.patch.object(self.script, "to_png", lambda figure: figure):
            figure = self.script.draw_comparison(evaluations, epsilons, 0.2)
        (axes,) = figure.axes
        curves = [line.get_ydata().tolist() for line in axes.lines]
        self.assertEqual(curves, 2 * [[100, 50, 0], [100, 50, 50]])
        colors = [line.get_color() for line in axes.lines]
        self.assertEqual(colors, ["C0", "C0", "C1", "C1"])
        texts = [text.get_text() for text in axes.get_legend().get_texts()]
        self.assertEqual(texts, ["one", "two"])
        self.assertEqual(axes.get_xlim(), (0.0, 0.2))

    @pytest.mark.slow
    @on_pytorch_alone
    def test_several_networks_are_evaluated_and_compared(self):
        paths = []
        for name, activation in (
            ("one", kl.layers.MaxMin()),
            ("two", keras.layers.ReLU()),
        ):
            model = kl.models.LipschitzSequential(
                [
                    keras.Input((8, 8, 1)),
                    keras.layers.Flatten(),
                    kl.layers.OrthogonalDense(16),
                    activation,
                    kl.layers.OrthogonalDense(10),
                ]
            )
            path = self.temporary_path("runs") / name / "model.keras"
            path.parent.mkdir(parents=True)
            model.save(path)
            paths.append(str(path))
        output = self.temporary_path("evaluation")
        with mock.patch("builtins.print"):
            self.script.main(
                [
                    *(*paths, "--dataset", "digits", "--output", str(output)),
                    *("--samples", "8", "--attacked-samples", "4"),
                    *("--attack-steps", "2", "--points", "2"),
                    *("--largest-radius", "0.5", "--decision-samples", "2"),
                    *("--decision-steps", "2"),
                ]
            )
        self.assertTrue((output / "comparison.png").exists())
        found = {}
        for name in ("one", "two"):
            text = (output / name / "evaluation.json").read_text()
            found[name] = json.loads(text)
            self.assertIn("0.5", found[name]["certified"])
            self.assertContainsSubset(
                {"PGD", "FGSM", "boundary, first 2", "pointwise, first 2"},
                found[name]["attacks"],
            )
        isometry = found["one"]["isometry"]
        self.assertEqual(isometry["share_near_one"], 1.0)
        self.assertEqual(sum(isometry["histogram"]["counts"]), 80)
        for norm in isometry["gradient_norms"].values():
            self.assertAlmostEqual(norm, 1.0, delta=1e-5)
        self.assertLess(found["two"]["isometry"]["share_near_one"], 0.5)
