import json
from unittest import mock

import numpy as np
import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = pytest.mark.slow


class DenoiserTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.script = load_example("denoiser")

    @on_pytorch_alone
    def test_smoke_run_keeps_its_promise(self):
        output = self.temporary_path("denoiser")
        with mock.patch("builtins.print"):
            self.script.main(["--smoke", "--output", str(output)])
        self.assertEqual(
            sorted(path.name for path in output.iterdir()),
            ["denoiser.json", "denoiser.png"],
        )
        results = json.loads((output / "denoiser.json").read_text())
        self.assertAlmostEqual(results["bound"], 1.0, delta=1e-4)
        row = results["restored"]["firmly non-expansive"]
        residuals = np.array(row["residuals"])
        self.assertLen(residuals, 20)
        # The images are computed in float32.
        self.assertTrue(np.all(residuals[1:] <= residuals[:-1] + 1e-5))
        self.assertLess(row["stretch"], 1 + 1e-4)

    def test_the_blur_is_an_average_and_symmetric(self):
        blur = self.script.Blur(7, 1.2)
        x, y = self.rng.normal(size=(2, 3, 7, 7, 1))
        self.assertAllClose(np.sum(blur(x) * y), np.sum(x * blur(y)), 1e-10)
        self.assertAllClose(blur(np.ones((1, 7, 7, 1))), np.ones((1, 7, 7, 1)))
        self.assertEqual(np.abs(blur.spectrum).max(), blur.spectrum[0, 0, 0, 0])
        # A point of light becomes the window.
        point = np.zeros((1, 7, 7, 1))
        point[0, 3, 3] = 1
        found = blur(point)[0, :, :, 0]
        self.assertAllClose(
            found[3, 4] / found[3, 3], np.exp(-1 / (2 * 1.2**2)), 1e-10
        )

    def test_the_search_finds_the_norm_of_a_linear_iteration(self):
        blur = self.script.Blur(6, 0.8)
        measured = self.rng.normal(size=(2, 6, 6, 1))
        found = self.script.find_stretch(
            lambda x: 3.0 * x, blur, measured, 1.0, self.rng, iterations=200
        )
        exact = 3.0 * np.abs(1 - blur.spectrum**2).max()
        # A search is never above the truth.
        self.assertBetween(found, 0.99 * exact, exact + 1e-6)

    def test_an_iteration_that_diverges_is_stopped(self):
        blur = self.script.Blur(6, 0.8)
        measured = 1 + self.rng.normal(size=(2, 6, 6, 1))
        path, residuals = self.script.restore(
            lambda x: 3.0 * x, blur, measured, 0.1, 500
        )
        self.assertLess(len(path), 50)
        self.assertLen(residuals, len(path) - 1)
        self.assertTrue(np.isfinite(residuals).all())

    def test_the_quality_of_a_known_error(self):
        clean = np.zeros((2, 4, 4, 1))
        self.assertAllClose(self.script.decibels(clean + 0.1, clean), 20.0)
