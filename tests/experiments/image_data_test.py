import sys
from unittest import mock

import numpy as np
import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_experiment

pytestmark = pytest.mark.slow


class ImageDataTest(LipschitzTestCase):
    def make_batches(self, **kwargs):
        images = np.arange(20, dtype="uint8").reshape(10, 1, 2, 1)
        module = load_experiment("image_data")
        return module.ImageBatches(images, np.arange(10), 4, 0, **kwargs)

    def test_pipeline_yields_what_the_batches_hold(self):
        batches = self.make_batches()
        pipeline = list(load_experiment("image_data").to_pipeline(batches, 2))
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
            module = load_experiment("image_data")
            self.assertIs(module.to_pipeline(batches, 2), batches)
        batches.on_epoch_end()
        self.assertAllClose(batches[1][0], later[1][0], 0)

    def test_images_move_whole(self):
        move = load_experiment("image_data").move
        images = np.zeros((64, 5, 5, 1), "uint8")
        images[:, 2, 2] = 7
        moved = move(images, 2, np.random.default_rng(0))
        self.assertAllClose(moved.sum(axis=(1, 2, 3)), np.full(64, 7))
        _, rows, columns, _ = np.nonzero(moved)
        self.assertEqual({*rows}, set(range(5)))
        self.assertEqual({*columns}, set(range(5)))
        self.assertGreater(np.mean(rows != columns), 0.5)

    # Keras transposes a scalar.
    @pytest.mark.filterwarnings("ignore:Tensor.T is deprecated")
    def test_augmentation_depends_only_on_the_seed(self):
        module = load_experiment("image_data")
        images = self.rng.integers(0, 256, (10, 8, 8, 3)).astype("uint8")
        options = {"rand_augment": {"num_ops": 1, "factor": 0.9}}
        first, second = (
            module.ImageBatches(images, np.arange(10), 4, 0, **options)
            for _ in range(2)
        )
        second.get(0, 0)
        augmented, labels = first.get(1, 1)
        self.assertAllClose(second.get(1, 1)[0], augmented, 0)
        self.assertBetween(augmented.min(), 0.0, 1.0)
        self.assertBetween(augmented.max(), 0.0, 1.0)
        changed = [
            not np.allclose(first.get(epoch, 0)[0], images[order[:4]] / 255)
            for epoch in range(5)
            for order in [module.draw_order(0, epoch, 10)]
        ]
        self.assertIn(True, changed)

    def test_squares_are_cut_out_where_they_lie_in_the_image(self):
        module = load_experiment("image_data")
        images = np.full((500, 6, 8, 2), 7, "uint8")
        hidden = module.cut_out(images, 3, np.random.default_rng(0)) == 0
        np.testing.assert_array_equal(hidden[..., 0], hidden[..., 1])
        counts = set()
        for rows, columns in (
            (mask.any(axis=1), mask.any(axis=0)) for mask in hidden[..., 0]
        ):
            counts.add((rows.sum(), columns.sum()))
            # Each is a run of pixels, shorter at the border alone.
            for line in (rows, columns):
                ends = np.abs(np.diff(line.astype(int))).sum()
                self.assertLessEqual(ends, 2)
                if line.sum() < 3:
                    self.assertTrue(line[0] or line[-1])
        for mask in hidden[..., 0]:
            outer = np.outer(mask.any(axis=1), mask.any(axis=0))
            np.testing.assert_array_equal(mask, outer)
        self.assertEqual(counts, {(r, c) for r in (2, 3) for c in (2, 3)})
        # Every pixel is hidden as often as another, but for the border.
        share = hidden[:, 1:-1, 1:-1, 0].mean(axis=0)
        self.assertAllClose(share, np.full((4, 6), 9 / 48), 0.3)

    def test_data_of_a_file_is_checked(self):
        load = load_experiment("image_data").load_images
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
