import os
import pathlib
from unittest import mock

from absl.testing import parameterized

from keras_lip.models.exporting.target import certificate_path
from keras_lip.models.exporting.target import check_target
from keras_lip.models.exporting.target import install
from tests.lipschitz_test_case import LipschitzTestCase

FILES = {
    "tf_saved_model": ("model", ["model/saved_model.pb", "model/a/b"]),
    "onnx": ("model.onnx", ["model.onnx", "model.onnx.json"]),
    "litert": ("m.n.tflite", ["m.n.tflite", "m.n.tflite.json"]),
    "openvino": ("m.n.xml", ["m.n.xml", "m.n.xml.json", "m.n.bin"]),
    "torch": ("model.pt2", ["model.pt2", "model.pt2.json"]),
}


def write(folder, names, text):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def read(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


class TargetTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.temporary_path("x").parent

    def stage(self, names):
        write(self.folder / "stage" / "artifact", names, "new")
        return self.folder / "stage" / "artifact"

    @parameterized.parameters(*FILES)
    def test_artifact_is_installed_and_replaced(self, name):
        target, names = FILES[name]
        place = self.folder / "place"
        place.mkdir()
        check_target(place / target, name, False)
        staged = self.stage(names) / target
        install(staged, place / target, name)
        self.assertEqual(read(place), dict.fromkeys(names, "new"))
        with self.assertRaisesRegex(ValueError, "something at .* already"):
            check_target(place / target, name, False)
        write(place, names, "old")
        write(place, [names[0] + "~"], "another")
        check_target(place / target, name, True)
        self.stage(names)
        install(staged, place / target, name)
        self.assertEqual(
            read(place),
            {**dict.fromkeys(names, "new"), names[0] + "~": "another"}
            if name != "tf_saved_model"
            else dict.fromkeys(names, "new"),
        )

    @parameterized.product(name=list(FILES), step=[0, 1, 2, 3, 4, 5, 6])
    def test_failure_leaves_what_was_there(self, name, step):
        target, names = FILES[name]
        place = self.folder / "place"
        write(place, names, "old")
        staged = self.stage(names) / target
        replace, calls = os.replace, []

        def fail(source, destination):
            calls.append(source)
            if len(calls) == step + 1:
                raise OSError("no space")
            replace(source, destination)

        with mock.patch.object(os, "replace", fail):
            try:
                install(staged, place / target, name)
            except OSError:
                self.assertEqual(read(place), dict.fromkeys(names, "old"))
            else:
                self.assertEqual(read(place), dict.fromkeys(names, "new"))
                self.assertLessEqual(len(calls), step)

    def test_what_is_no_artifact_is_never_replaced(self):
        (self.folder / "home").mkdir()
        (self.folder / "home" / "letter").write_text("dear")
        with self.assertRaisesRegex(ValueError, "something at"):
            check_target(self.folder / "home", "tf_saved_model", True)
        (self.folder / "model.onnx").mkdir()
        with self.assertRaisesRegex(ValueError, "something at"):
            check_target(self.folder / "model.onnx", "onnx", True)
        # Nor is a neighbour that goes with the artifact.
        (self.folder / "model.bin").write_text("data")
        with self.assertRaisesRegex(ValueError, "something at .*model.bin"):
            check_target(self.folder / "model.xml", "openvino", False)

    def test_path_that_does_not_fit_is_refused(self):
        with self.assertRaisesRegex(ValueError, "must end in .pt2.*model.pt'"):
            check_target(self.folder / "model.pt", "torch", False)
        with self.assertRaisesRegex(ValueError, "in an existing folder"):
            check_target(self.folder / "none" / "model", "tf_saved_model", True)

    def test_certificate_is_inside_a_folder_and_beside_a_file(self):
        path = pathlib.Path("a/b.c")
        self.assertEqual(
            certificate_path(path, "tf_saved_model").as_posix(),
            "a/b.c/assets.extra/certificate.json",
        )
        self.assertEqual(
            certificate_path(path, "onnx").as_posix(), "a/b.c.json"
        )
