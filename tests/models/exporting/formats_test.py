import importlib.util
from unittest import mock

import keras
from absl.testing import parameterized

from keras_lip.models.exporting.formats import FORMATS
from keras_lip.models.exporting.formats import find_backend
from tests.lipschitz_test_case import LipschitzTestCase


class FormatsTest(LipschitzTestCase):
    @parameterized.parameters(*FORMATS)
    def test_active_backend_writes_what_it_can(self, name):
        active = keras.backend.backend()
        with mock.patch.object(importlib.util, "find_spec"):
            found = find_backend(name)
        if name == "torch":
            self.assertEqual(found, "torch")
        elif name == "onnx" and active == "torch":
            self.assertEqual(found, "torch")
        else:
            self.assertEqual(found, "tensorflow")

    def test_unknown_format_is_refused_and_the_known_ones_are_listed(self):
        with self.assertRaisesRegex(
            ValueError,
            "Unknown format: 'tflite'.*'litert', 'onnx', 'openvino', "
            "'tf_saved_model', 'torch'",
        ):
            find_backend("tflite")

    @parameterized.parameters(
        ("onnx", "onnx", "export"),
        ("onnx", "onnxruntime", "export"),
        ("litert", "ai_edge_litert", "export"),
        ("litert", "tensorflow", "tensorflow"),
        ("openvino", "openvino", "export"),
        ("tf_saved_model", "tensorflow", "tensorflow"),
        ("torch", "torch", "torch"),
    )
    def test_missing_package_is_named_with_its_extra(
        self, name, missing, extra
    ):
        self.check_missing(name, missing, extra)

    def test_converter_is_needed_where_tensorflow_writes_onnx(self):
        with mock.patch.object(
            keras.backend, "backend", return_value="tensorflow"
        ):
            self.check_missing("onnx", "tf2onnx", "export")
        with (
            mock.patch.object(keras.backend, "backend", return_value="torch"),
            mock.patch.object(
                importlib.util, "find_spec", lambda name: name != "tf2onnx"
            ),
        ):
            self.assertEqual(find_backend("onnx"), "torch")

    def check_missing(self, name, missing, extra):
        def find_spec(package):
            return None if package == missing else package

        with (
            mock.patch.object(importlib.util, "find_spec", find_spec),
            self.assertRaisesRegex(
                ImportError, rf"needs `{missing}`.*keras-lip\[{extra}\]"
            ),
        ):
            find_backend(name)
