import subprocess
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
from tests.models.export_test_case import ExportTestCase
from tests.models.export_test_case import make_linear
from tests.models.export_test_case import perturb

pytestmark = pytest.mark.slow


class ExportArgumentsTest(ExportTestCase):
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
        refuse(RuntimeError, "labels do not match its logits", relabel)
        refuse(RuntimeError, "radii are larger than the proven", enlarge)
        refuse(RuntimeError, "radii are larger than the proven", spoil)
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
                "never abstains.*abstain_below=0.1",
            ),
            ("report.json", TypeError, "'report.json' of type `str`"),
        ):
            with self.assertRaisesRegex(error, message):
                self.export_fast(model, path, report)
        self.assertEmpty(list(self.folder.iterdir()))

    def test_models_without_a_certificate_are_refused(self):
        path = self.folder / "a.onnx"
        inputs = keras.Input((6,))
        other = keras.Input((3,))
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
                keras.Model([inputs, other], head + other),
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
