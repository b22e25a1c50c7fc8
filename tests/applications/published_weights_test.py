import dataclasses
import hashlib
import json
import pathlib
import shutil
from unittest import mock

import numpy as np
from absl.testing import parameterized
from sklearn.datasets import load_digits

from keras_lip import applications
from keras_lip import certificates
from keras_lip.applications import published_weights
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

FOLDER = pathlib.Path(published_weights.__file__).with_name("weights")
LISTED = {
    f"{each.application}_{each.name}": each
    for each in applications.list_weights()
}


def make(entry, **arguments):
    return getattr(applications, entry.application)(
        weights=entry.name, **arguments
    )


class ListWeightsTest(LipschitzTestCase):
    def test_every_file_is_listed_with_its_digest(self):
        files = {path.name for path in FOLDER.glob("*.h5")}
        self.assertEqual(files, {each.file for each in LISTED.values()})
        for each in LISTED.values():
            content = (FOLDER / each.file).read_bytes()
            self.assertEqual(each.num_bytes, len(content))
            self.assertLess(len(content), 1_000_000)
            self.assertEqual(each.sha256, hashlib.sha256(content).hexdigest())

    def test_list_of_an_application(self):
        for each in applications.list_weights("FullyConnected3"):
            self.assertEqual(each.application, "FullyConnected3")
        self.assertEmpty(applications.list_weights("ResNet9"))

    def test_every_application_loads_weights(self):
        networks = [name for name in applications.__all__ if name[0].isupper()]
        for name in {*networks} - {"PublishedWeights"}:
            with self.subTest(name):
                with self.assertRaisesRegex(ValueError, "`weights` must be"):
                    getattr(applications, name)(weights="unknown")

    def test_text_says_what_is_certified(self):
        entry = dataclasses.replace(
            LISTED["FullyConnected3_mnist"],
            accuracy=0.9,
            certified_accuracy={0.5: 0.75},
            num_bytes=2000,
        )
        self.assertEqual(
            str(entry),
            "FullyConnected3(weights='mnist'): accuracy 90.00%, certified (l2) "
            "75.00% at 0.5; 2 kB",
        )


class LoadTest(LipschitzTestCase):
    @parameterized.named_parameters(*LISTED.items())
    def test_bound_is_the_published_one(self, entry):
        model = make(entry, name="loaded")
        self.assertEqual(model.name, "loaded")
        audit = certificates.audit(model, steps=None)
        self.assertAllClose(audit.lipschitz_bound, entry.lipschitz_bound, 1e-4)

    def test_digits_of_another_source_are_recognized(self):
        # Eight pixels become 24, and a border makes 28: a rough picture of the
        # images that the network was trained on.
        images, labels = load_digits(return_X_y=True)
        images = (images[:300] / 16).reshape(-1, 8, 8)
        images = np.kron(images, np.ones((1, 3, 3)))
        images = np.pad(images, ((0, 0), (2, 2), (2, 2)))[..., None]
        model = make(LISTED["FullyConnected3_mnist"])
        found = np.argmax(to_numpy(model(images.astype("float32"))), axis=1)
        self.assertGreater(np.mean(found == labels[:300]), 0.5)

    def test_path_is_loaded_into_the_network_of_the_arguments(self):
        model = applications.FullyConnected3((4,), 3, units=4)
        path = self.temporary_path("own.weights.h5")
        model.save_weights(path)
        other = applications.FullyConnected3((4,), 3, units=4, weights=path)
        x = self.normal(2, 4)
        self.assertAllClose(other(x), model(x))

    def test_same_arguments_may_be_given(self):
        entry = LISTED["FullyConnected3_mnist"]
        model = make(entry, input_shape=(28, 28, 1), classes=10)
        self.assertEqual(model.output_shape, (None, 10))

    def test_other_arguments_are_refused(self):
        with self.assertRaisesRegex(ValueError, "Received: classes=3 instead"):
            make(LISTED["FullyConnected3_mnist"], classes=3)

    def test_unknown_names_are_refused(self):
        with self.assertRaisesRegex(ValueError, r"'mnist'.*, or the path"):
            applications.FullyConnected3(weights="imagenet")
        with self.assertRaisesRegex(ValueError, r"\(none\), or the path"):
            applications.ResNet9(weights="mnist")
        with self.assertRaisesRegex(TypeError, "`weights` must be a name"):
            applications.FullyConnected3(weights=True)

    def test_another_file_is_refused(self):
        entry = LISTED["FullyConnected3_mnist"]
        folder = self.temporary_path("weights")
        shutil.copytree(FOLDER, folder)
        content = bytearray((folder / entry.file).read_bytes())
        content[-1] ^= 1
        (folder / entry.file).write_bytes(content)
        with (
            mock.patch.object(published_weights, "_FOLDER", folder),
            self.assertRaisesRegex(ValueError, "another one than the publish"),
        ):
            make(entry)

    def test_index_is_json_without_surprises(self):
        for entry in json.loads((FOLDER / "index.json").read_text()):
            self.assertIn(entry["license"], ("Apache-2.0",))
            self.assertTrue(hasattr(applications, entry["application"]))
