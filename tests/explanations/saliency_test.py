import os
import sys
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.explanations.saliency import Saliency
from keras_lip.explanations.saliency_maps import saliency_maps
from keras_lip.layers import UnitNormDense
from tests.certificates.reports.certification_report_test import make_report
from tests.lipschitz_test_case import LipschitzTestCase


class SaliencyTest(LipschitzTestCase):
    def make_models(self):
        """A linear model, and one with a ReLU before the same kernel."""
        self.kernel = self.normal(4, 3)
        models = []
        for name, head in (
            ("robust", [layers.Identity()]),
            ("twin", [layers.ReLU()]),
        ):
            model = keras.Sequential(
                [keras.Input((2, 2, 1)), layers.Flatten(), *head], name=name
            )
            model.add(layers.Dense(3))
            model.layers[-1].kernel.assign(self.kernel)
            models.append(model)
        return models

    def make_saliency(self, shape=(2, 2, 1), models=2):
        rng = np.random.default_rng(0)
        return Saliency(
            titles=("robust", "twin")[:models],
            classes=(1, 3),
            inputs=rng.normal(size=(3, *shape)),
            gradients=rng.normal(size=(models, 3, 2, *shape)),
            prediction=np.ones((models, 3), dtype=int),
        )

    def test_gradients_of_linear_models_are_their_kernels(self):
        model, twin = self.make_models()
        x = self.normal(2, 2, 2, 1)
        saliency = saliency_maps(model, x, classes=[2, 0], ordinary=twin)
        self.assertEqual(saliency.titles, ("robust", "twin"))
        self.assertEqual(saliency.classes, (2, 0))
        self.assertAllClose(saliency.inputs, x)
        columns = self.kernel.T[[2, 0]].reshape(2, 2, 2, 1)
        # What the ReLU cuts off has no gradient.
        passed = (x > 0)[:, None]
        self.assertAllClose(
            saliency.gradients,
            np.stack([np.stack([columns, columns]), columns * passed]),
        )
        flat = x.reshape(2, 4)
        logits = np.stack(
            [flat @ self.kernel, np.maximum(flat, 0) @ self.kernel]
        )
        self.assertAllClose(saliency.prediction, logits.argmax(axis=-1))

    def test_all_classes_are_the_default(self):
        model, _ = self.make_models()
        saliency = saliency_maps(model, self.normal(2, 2, 2, 1))
        self.assertEqual(saliency.classes, (0, 1, 2))
        self.assertEqual(saliency.gradients.shape, (1, 2, 3, 2, 2, 1))

    def test_arguments_are_checked(self):
        model, _ = self.make_models()
        x = self.normal(1, 2, 2, 1)
        for classes in ([], [3], [-1]):
            with self.assertRaisesRegex(ValueError, "indices of the 3 classes"):
                saliency_maps(model, x, classes)
        other = keras.Sequential(
            [keras.Input((2, 2, 1)), layers.Flatten(), UnitNormDense(2)],
            name="other",
        )
        with self.assertRaisesRegex(ValueError, r"'other' .* \(1, 2\)"):
            saliency_maps(model, x, ordinary=other)
        images = keras.Sequential([keras.Input((2, 2, 1)), layers.ReLU()])
        with self.assertRaisesRegex(ValueError, "must return logits"):
            saliency_maps(images, x)
        with self.assertRaisesRegex(ValueError, "must be finite"):
            saliency_maps(model, np.full_like(x, np.nan))

    @parameterized.parameters((2, 2), (2, 2, 1), (2, 2, 3))
    def test_picture_is_a_png_of_inputs_and_gradients(self, *shape):
        from matplotlib.axes import Axes

        path = self.temporary_path("saliency.png")
        saliency = self.make_saliency(shape)
        with mock.patch.object(Axes, "imshow", autospec=True) as imshow:
            self.assertEqual(saliency.save(path), path)
        self.assertEqual(path.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")
        drawn = [call.args[1] for call in imshow.call_args_list]
        # For each sample its input, and two gradients of both models.
        self.assertLen(drawn, 3 * (1 + 2 * 2))
        color = (3,) if shape[2:] == (3,) else ()
        images = np.stack(drawn[::5])
        self.assertEqual(images.shape, (3, 2, 2, *color))
        self.assertEqual((images.min(), images.max()), (0.0, 1.0))
        # The second sample's, of the second model: on a scale of their own.
        maps = saliency.gradients[1, 1].reshape(2, 2, 2, -1).sum(axis=-1)
        self.assertAllClose(
            np.stack(drawn[8:10]), maps / np.abs(maps).max(), 1e-12
        )

    def test_frame_marks_the_prediction_and_titles_the_models(self):
        from matplotlib.figure import Figure

        figures = []
        with mock.patch.object(
            Figure,
            "savefig",
            autospec=True,
            side_effect=lambda f, *_, **__: figures.append(f),
        ):
            self.make_saliency(models=1).draw()
        axes = figures[0].axes
        widths = [each.spines["left"].get_linewidth() for each in axes]
        self.assertEqual(widths, [0.8, 2.0, 0.8] * 3)
        titles = [each.get_title() for each in axes]
        self.assertEqual(titles, ["input", "class 1", "class 3"] + 6 * [""])
        norms = np.linalg.norm(
            self.make_saliency(models=1).gradients[0, 0].reshape(2, -1), axis=1
        )
        self.assertEqual(axes[2].get_ylabel(), f"robust\nnorm {max(norms):.3g}")

    def test_gradients_of_zero_are_drawn(self):
        saliency = self.make_saliency()
        saliency.gradients[:] = 0.0
        saliency.inputs[:] = 1.0
        self.assertEqual(saliency.draw()[1:4], b"PNG")

    def test_page_shows_the_picture(self):
        pages = []
        for saliency in (None, self.make_saliency()):
            path = self.temporary_path("report.html")
            make_report(saliency=saliency).save(path)
            pages.append(path.read_text())
        counts = [page.count("data:image/png") for page in pages]
        self.assertEqual(counts, [1, 2])
        self.assertIn("<h2>Saliency</h2>", pages[1])
        self.assertNotIn("Saliency", pages[0])
        self.assertNotIn("saliency", make_report().to_json())

    def test_impossible_pictures_are_refused(self):
        saliency = self.make_saliency()
        with self.assertRaisesRegex(ValueError, "must end in .png"):
            saliency.save(self.temporary_path("saliency.jpg"))
        path = self.temporary_path("saliency.png")
        for shape in ((4,), (2, 2, 2), (2, 2, 2, 1)):
            with self.assertRaisesRegex(ValueError, "must be images of one"):
                self.make_saliency(shape).save(path)
        with mock.patch.dict(sys.modules, {"matplotlib.figure": None}):
            with self.assertRaisesRegex(ImportError, r"keras-lip\[report\]"):
                saliency.save(path)
        self.assertEqual(os.listdir(path.parent), [])
        path.write_text("mine")
        with self.assertRaisesRegex(ValueError, "something at .* already"):
            saliency.save(path)
