import hashlib
import json
import subprocess
import sys
from unittest import mock

import keras
import numpy as np
import pytest
from absl.testing import parameterized
from keras import ops

from keras_lip import certificates
from keras_lip import layers
from keras_lip.bounds import propagate_bound
from keras_lip.models.export import export
from keras_lip.models.exporting import write_artifact
from keras_lip.models.exporting.target import certificate_path
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

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


def make_dense():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.OrthogonalDense(8),
            layers.GroupSort(4),
            layers.ConvexPotentialDense(5),
            layers.UnitNormDense(4, bias_initializer="normal"),
        ]
    )


def make_convolutional():
    return keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers.AOLConv2D(4, 3),
            layers.MaxMin(),
            layers.ScaledAveragePooling2D(2),
            keras.layers.Flatten(),
            layers.CurvatureHead(3, 7, kernel_initializer="normal"),
        ]
    )


def make_linear(name=None):
    return keras.Sequential(
        [keras.Input((6,)), layers.UnitNormDense(4, bias_initializer="normal")],
        name=name,
    )


def perturb(outputs, scale):
    outputs["logits"] = outputs["logits"] * (1 + scale)


class ExportTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.temporary_path("x").parent

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
        model = make()
        shape = model.inputs[0].shape[1:]
        x = self.normal(40, *shape)
        y = self.rng.integers(0, 3, 40)
        report = certificates.certify(model, x, y, epsilons=[0.1, 0.2])
        path = self.folder / f"served{SUFFIXES[name]}"
        self.assertEqual(export(model, path, name, report), path)

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

    # The rest is tried without a converter: it does what the model does.
    def export_fast(self, model, path, *args, change=None, **kwargs):
        def convert(exported, staged, name, backend, probes):
            staged.write_text(f"{exported.name} by {backend}")
            outputs = {
                key: to_numpy(value).copy()
                for key, value in exported(probes).items()
            }
            if change is not None:
                change(outputs)
            return outputs

        module = sys.modules["keras_lip.models.export"]
        with mock.patch.object(module, "write_artifact", convert):
            return export(model, path, "onnx", *args, **kwargs)

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

    def test_wrong_runtimes_are_refused_and_nothing_is_written(self):
        model = make_linear()
        path = self.folder / "a.onnx"
        path.write_text("old")

        def refuse(error, message, change, **kwargs):
            with self.assertRaisesRegex(error, message):
                self.export_fast(
                    model, path, change=change, overwrite=True, **kwargs
                )

        def relabel(outputs):
            outputs["label"][3] += 1

        def enlarge(outputs):
            # By one percent of the largest one.
            outputs["radius"][np.argmax(outputs["radius"])] *= 1.01

        def forget(outputs):
            outputs["radius"][-4] = 0.1

        def spoil(outputs):
            outputs["radius"][0] = np.nan

        def round_logits(outputs):
            perturb(outputs, 1e-3)

        refuse(ValueError, "off by more than `logit_tol", round_logits)
        refuse(RuntimeError, "labels are not those of its logits", relabel)
        refuse(RuntimeError, "radii are larger than what is proven", enlarge)
        refuse(RuntimeError, "radii are larger than what is proven", spoil)
        refuse(RuntimeError, "not finite are not zero", forget)
        self.assertEqual([p.name for p in self.folder.iterdir()], ["a.onnx"])
        self.assertEqual(path.read_text(), "old")
        # A tolerance that covers it is one.
        self.export_fast(
            model,
            path,
            change=round_logits,
            overwrite=True,
            logit_tolerance=2.0**-8,
        )
        self.assertIn("by ", path.read_text())

    def test_given_probes_are_tried(self):
        model = make_linear()
        probes = self.normal(5, 6)

        def only_there(outputs):
            # Between the 25 regular ones and the 4 hostile ones.
            self.assertLen(outputs["label"], 34)
            self.assertAllClose(
                outputs["logits"][25:30], model(probes), atol=1e-5
            )
            outputs["logits"][25:30] *= 1.01

        with self.assertRaisesRegex(ValueError, "`logit_tolerance` allows"):
            self.export_fast(
                model,
                self.folder / "a.onnx",
                change=only_there,
                probes=probes,
            )
        for wrong in (self.normal(5, 7), np.full((2, 6), np.nan)):
            with self.assertRaisesRegex(ValueError, r"`probes`.*\(None, 6\)"):
                self.export_fast(model, self.folder / "a.onnx", probes=wrong)

    def test_reports_of_other_models_are_refused(self):
        model, other = make_linear(), make_linear()
        x, y = self.normal(4, 6), np.zeros(4, "int64")
        path = self.folder / "a.onnx"
        for report, error, message in (
            (certificates.audit(other), ValueError, "audit is of another"),
            (
                certificates.certify(other, x, y),
                ValueError,
                "report is of another model",
            ),
            (
                certificates.certify(model, x, y, abstain_below=0.1),
                ValueError,
                "answers everywhere.*abstain_below=0.1",
            ),
            ("report.json", TypeError, "'report.json' of type `str`"),
        ):
            with self.assertRaisesRegex(error, message):
                self.export_fast(model, path, report)
        self.assertEmpty(list(self.folder.iterdir()))

    def test_models_without_a_certificate_are_refused(self):
        path = self.folder / "a.onnx"
        inputs = keras.Input((6,))
        head = layers.UnitNormDense(3)(inputs)
        for model, error, message in (
            (layers.MaxMin(), TypeError, "A `keras.Model` is expected"),
            (
                keras.Sequential([layers.UnitNormDense(3)]),
                ValueError,
                "is not built",
            ),
            (
                keras.Model(inputs, [head, head]),
                ValueError,
                "must have one output",
            ),
            (
                keras.Model([inputs, keras.Input((6,))], head),
                ValueError,
                "must have one input",
            ),
            (
                keras.Model(inputs, keras.layers.Softmax()(head)),
                ValueError,
                "ends in a `softmax`, of layer 'softmax",
            ),
            (
                keras.Model(inputs, keras.layers.LayerNormalization()(head)),
                ValueError,
                "No Lipschitz bound",
            ),
            (
                keras.Model(inputs, keras.layers.Reshape((3, 1))(head)),
                ValueError,
                "A classifier must have",
            ),
            (
                keras.Sequential(
                    [
                        keras.Input((6,)),
                        layers.LinfDense(4),
                        layers.OrthogonalDense(3),
                    ]
                ),
                ValueError,
                "norm",
            ),
        ):
            with self.assertRaisesRegex(error, message):
                self.export_fast(model, path)
        # An audit does not help what is no classifier.
        model = keras.Sequential([keras.Input((6, 2)), layers.MaxMin()])
        with self.assertRaisesRegex(ValueError, "A classifier must have"):
            self.export_fast(model, path, certificates.audit(model))
        self.assertEmpty(list(self.folder.iterdir()))

    def make_custom(self, function):
        """Returns a model that ends in a layer of a user."""

        class Custom(keras.layers.Layer):
            def call(self, inputs):
                return function(inputs)

        propagate_bound.register(Custom)(lambda layer, bound: bound)
        model = make_linear()
        model.add(Custom(name="own"))
        return model

    @parameterized.parameters(
        lambda inputs: inputs, lambda inputs: ops.flip(inputs, axis=-1)
    )
    def test_layers_of_known_operations_are_written_out(self, function):
        model = self.make_custom(function)
        probes = self.normal(5, 6)

        def check(outputs):
            self.assertAllClose(
                outputs["logits"][25:30], model(probes), atol=1e-5
            )

        self.export_fast(
            model, self.folder / "a.onnx", change=check, probes=probes
        )

    def test_layers_of_unknown_operations_are_refused(self):
        model = self.make_custom(ops.sin)
        with self.assertRaisesRegex(ValueError, "'own' of type `Custom`"):
            self.export_fast(model, self.folder / "a.onnx")
        self.assertEmpty(list(self.folder.iterdir()))

    def test_arguments_are_checked_before_the_work(self):
        model = make_linear()
        with self.assertRaisesRegex(ValueError, "Unknown format: 'tflite'"):
            export(model, self.folder / "a", "tflite")
        with self.assertRaisesRegex(ValueError, "must end in .onnx"):
            export(model, self.folder / "a.pb", "onnx")
        path = self.folder / "a.onnx"
        for wrong in (-1.0, 2.0, np.nan, "0"):
            with self.assertRaisesRegex(ValueError, "`logit_tolerance` must"):
                export(model, path, "onnx", logit_tolerance=wrong)
        path.write_text("old")
        with self.assertRaisesRegex(ValueError, "something at"):
            export(model, path, "onnx")

    def test_what_the_converter_says_is_passed_on(self):
        path = self.folder / "a.onnx"
        path.write_text("old")
        broken = subprocess.CompletedProcess((), 1, "", "x" * 9999 + "No FFT.")
        with (
            mock.patch.object(
                write_artifact.subprocess, "run", return_value=broken
            ) as run,
            self.assertRaisesRegex(
                RuntimeError, "(?s)'linear' could not .*'onnx' by .*x+No FFT.$"
            ),
        ):
            export(make_linear("linear"), path, "onnx", overwrite=True)
        self.assertLess(len(str(run.call_args)), 99999)
        environment = run.call_args.kwargs["env"]
        self.assertIn(environment["KERAS_BACKEND"], ("tensorflow", "torch"))
        self.assertEqual(path.read_text(), "old")
        self.assertLen(list(self.folder.iterdir()), 1)
