import hashlib
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from absl.testing import parameterized

from keras_lip import certificates
from keras_lip import layers
from keras_lip.models.export import export
from keras_lip.models.exporting.target import certificate_path
from tests.models.export_test_case import ExportTestCase
from tests.models.export_test_case import make_convolutional
from tests.models.export_test_case import make_dense
from tests.models.export_test_case import make_linear

pytestmark = pytest.mark.slow


SUFFIXES = {
    "tf_saved_model": "",
    "onnx": ".onnx",
    "litert": ".tflite",
    "openvino": ".xml",
    "torch": ".pt2",
}

# How a user without this library, and without Keras where the runtime does not
# import it, runs each format. `path` and `x` are given; `run` returns a dict.
RUNNERS = {
    "tf_saved_model": """
import tensorflow as tf
serve = tf.saved_model.load(path).signatures["serving_default"]
run = lambda x: {k: v.numpy() for k, v in serve(inputs=tf.constant(x)).items()}
""",
    "onnx": """
sys.modules["keras"] = sys.modules["tensorflow"] = None
import onnxruntime
session = onnxruntime.InferenceSession(path)
names = [output.name for output in session.get_outputs()]
run = lambda x: dict(zip(names, session.run(None, {"inputs": x})))
""",
    "litert": """
sys.modules["keras"] = sys.modules["tensorflow"] = None
from ai_edge_litert.interpreter import Interpreter
runner = Interpreter(model_path=path).get_signature_runner()
run = lambda x: runner(inputs=x)
""",
    "openvino": """
sys.modules["keras"] = sys.modules["tensorflow"] = None
import openvino
core = openvino.Core()
model = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
run = lambda x: {k.get_any_name(): v for k, v in model(x).items()}
""",
    "torch": """
sys.modules["keras"] = sys.modules["tensorflow"] = None
import torch
module = torch.export.load(path).module()
run = lambda x: {k: v.detach().numpy() for k, v in
                 module(torch.from_numpy(x)).items()}
""",
}

PROGRAM = """
import sys
import numpy as np
sys.modules["keras_lip"] = None
path, folder = sys.argv[1:]
{runner}
found = run(np.load(folder + "/x.npy"))
# Another size of the batch, and samples that do not see each other.
one = run(np.load(folder + "/x.npy")[5:6])
np.testing.assert_allclose(one["radius"], found["radius"][5:6], rtol=1e-4)
np.savez(folder + "/found.npz", **{{
    name: found[name] for name in ("logits", "label", "radius")
}})
"""


class ExportTest(ExportTestCase):
    def run_elsewhere(self, path, name, x):
        np.save(self.folder / "x.npy", x)
        program = PROGRAM.format(runner=RUNNERS[name])
        subprocess.run(
            [sys.executable, "-c", program, str(path), str(self.folder)],
            check=True,
            capture_output=True,
        )
        with np.load(self.folder / "found.npz") as found:
            return dict(found)

    def read_certificate(self, path, name):
        return json.loads(certificate_path(path, name).read_text())

    @parameterized.parameters(
        ("tf_saved_model", make_dense),
        ("onnx", make_convolutional),
        ("litert", make_convolutional),
        ("openvino", make_convolutional),
        ("torch", make_convolutional),
    )
    def test_artifact_certifies_without_this_library(self, name, make):
        if name == "openvino" and sys.version_info >= (3, 13):
            self.skipTest("OpenVINO 2026.4 fails beside TensorFlow.")
        model = make()
        shape = model.inputs[0].shape[1:]
        x = self.normal(40, *shape)
        y = self.rng.integers(0, 3, 40)
        report = certificates.certify(model, x, y, epsilons=[0.1, 0.2])
        path = self.folder / f"served{SUFFIXES[name]}"
        # An older Keras on PyTorch fixes the batch size of ONNX files.
        is_new = name in ("litert", "torch") or (
            name == "onnx" and keras.backend.backend() == "torch"
        )
        with self.needs_newer_keras(when=is_new):
            written = export(model, path, name, report)
        self.assertEqual(written, path)

        tried = np.concatenate([x, x[:4]])
        tried.reshape(len(tried), -1)[40:, 0] = [np.nan, np.inf, -np.inf, 1e30]
        found = self.run_elsewhere(path, name, tried)
        radii = found["radius"].astype("float64")
        self.assertAllClose(found["logits"][:40], model(x), atol=1e-5)
        self.assertAllClose(found["label"][:40], report.prediction, 0, 0)
        self.assertTrue(np.all(radii[:40] <= report.radius))
        self.assertGreater(
            np.median(radii[:40]), 0.4 * np.median(report.radius)
        )
        self.assertAllClose(radii[40:], np.zeros(4), 0, 0)

        certificate = self.read_certificate(path, name)
        self.assertEqual(certificate["sha256"], report.audit.sha256)
        self.assertEqual(
            certificate["report"]["certified_accuracy"],
            [
                {"epsilon": e, "accuracy": report.certified_accuracy(e)}
                for e in (0.1, 0.2)
            ],
        )
        self.assertBetween(certificate["tolerance_used"], 0, 0.5)
        root = path if path.is_dir() else path.parent
        for file, digest in certificate["files"].items():
            content = (root / file).read_bytes()
            self.assertEqual(hashlib.sha256(content).hexdigest(), digest)

    def test_certificate_says_what_the_radii_rest_on(self):
        model = make_linear("linear")
        path = self.export_fast(
            model, str(self.folder / "a.onnx"), logit_tolerance=2.0**-10
        )
        self.assertEqual(path, self.folder / "a.onnx")
        certificate = self.read_certificate(path, "onnx")
        audit = certificates.audit(model, steps=None)
        self.assertEqual(certificate["audit"], json.loads(audit.to_json()))
        self.assertEqual(certificate["sha256"], audit.sha256)
        self.assertEqual(certificate["lipschitz_bound"], audit.lipschitz_bound)
        self.assertEqual(certificate["norm"], "l2")
        self.assertIn("linear head", certificate["method"])
        self.assertEqual(certificate["logit_tolerance"], 2.0**-10)
        self.assertIsNone(certificate["report"])
        self.assertEqual(certificate["input"]["shape"], [None, 6])
        self.assertEqual(list(certificate["files"]), ["a.onnx"])
        self.assertEqual(
            sorted(certificate["outputs"]), ["label", "logits", "radius"]
        )
        self.assertLen(certificate["runtime_assumptions"], 2)

    def test_audit_gives_its_norm(self):
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
        audit = certificates.audit(model, "linf", steps=None)
        path = self.export_fast(model, self.folder / "a.onnx", audit)
        self.assertEqual(self.read_certificate(path, "onnx")["norm"], "linf")

    def test_subclassed_and_nested_models_are_exported(self):
        class Net(keras.Model):
            def __init__(self):
                super().__init__()
                self.inner = make_linear()
                self.scale = layers.LipschitzScale(2.0)

            def call(self, inputs):
                return self.scale(self.inner(inputs))

        net = Net()
        net(np.zeros((1, 6)))
        path = self.export_fast(net, self.folder / "a.onnx")
        certificate = self.read_certificate(path, "onnx")
        self.assertEqual(
            certificate["sha256"], certificates.audit(net, steps=None).sha256
        )
