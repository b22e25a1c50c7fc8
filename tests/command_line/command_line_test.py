import contextlib
import io
import json
import os
import pathlib
import re
import runpy
import subprocess
import sys
import tomllib
import zipfile
from unittest import mock

import keras
import numpy as np

import keras_lip
from keras_lip import certificates
from keras_lip import layers
from keras_lip import models
from keras_lip.command_line import audit_command
from keras_lip.command_line import certify_command
from keras_lip.command_line import main
from tests.lipschitz_test_case import LipschitzTestCase
from tests.marks import on_pytorch_alone

pytestmark = on_pytorch_alone

PROJECT = pathlib.Path(__file__).parents[2] / "pyproject.toml"
# Extras of commands and examples, and packages that only help others.
USERS = ("report", "attacks", "export", "tuning", "ray", "spark", "quickstart")
HELPERS = ("onnxscript", "setuptools", "six", "tensorboard")


class Unregistered(keras.layers.Layer):
    def call(self, inputs):
        return inputs


class CommandLineTestCase(LipschitzTestCase):
    def run_command(self, *arguments):
        """Returns the status, and what was printed to both streams."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main([str(each) for each in arguments])
            except SystemExit as stop:
                status = stop.code
        return status, out.getvalue(), err.getvalue()

    def save(self, *stack, shape=(4,)):
        model = keras.Sequential([keras.Input(shape), *stack], name="saved")
        path = self.temporary_path("model.keras")
        model.save(path)
        return path, model

    def save_classifier(self):
        return self.save(
            layers.OrthogonalDense(4), layers.MaxMin(), layers.UnitNormDense(3)
        )

    def save_data(self, **arrays):
        path = self.temporary_path("data.npz")
        np.savez(path, **arrays)
        return path

    def assertRefused(self, message, *arguments):
        status, out, err = self.run_command(*arguments)
        self.assertEqual((status, out), (1, ""))
        self.assertRegex(err, message)
        self.assertNotIn("Traceback", err)


class AuditCommandTest(CommandLineTestCase):
    def test_table_is_that_of_the_audit(self):
        path, model = self.save_classifier()
        status, out, _ = self.run_command("audit", path)
        self.assertEqual(status, 0)
        self.assertEqual(out, f"{certificates.audit(model)}\n")

    def test_json_is_printed_and_written(self):
        path, model = self.save_classifier()
        output = path.with_name("audit.json")
        status, out, _ = self.run_command(
            "audit", path, "--json", "--steps", 0, "--output", output
        )
        self.assertEqual(status, 0)
        expected = certificates.audit(model, steps=None).to_dict()
        self.assertEqual(json.loads(out), expected)
        self.assertEqual(json.loads(output.read_text()), expected)
        self.assertRefused(
            "There is something at", "audit", path, "--output", output
        )

    def test_bad_output_is_refused_before_the_proof(self):
        path, _ = self.save_classifier()
        for output, message in (
            ("a.txt", "must end in .json"),
            (path.parent / "none" / "a.json", "cannot be written to"),
            (path.with_suffix(""), "must end in .json"),
        ):
            with mock.patch.object(audit_command, "audit") as audit:
                self.assertRefused(message, "audit", path, "--output", output)
            audit.assert_not_called()

    def test_layer_without_a_bound_is_refused_by_name(self):
        path, _ = self.save(keras.layers.LayerNormalization(name="norm"))
        self.assertRefused("'norm'", "audit", path)

    def test_wrong_options_have_another_status(self):
        path, _ = self.save_classifier()
        for arguments in (
            ("audit", path, "--norm", "l1"),
            ("audit",),
            ("prove", path),
            (),
        ):
            status, _, err = self.run_command(*arguments)
            self.assertEqual(status, 2)
            self.assertIn("usage: python -m keras_lip", err)

    def test_what_others_print_is_no_result(self):
        path, _ = self.save_classifier()
        read = keras.saving.load_model

        def chatter(*args, **kwargs):
            print("loading")
            return read(*args, **kwargs)

        with mock.patch.object(keras.saving, "load_model", chatter):
            _, out, err = self.run_command("audit", path, "--json")
        self.assertIn("loading", err)
        self.assertIn("sha256", json.loads(out))


class ModelFileTest(CommandLineTestCase):
    def test_missing_file(self):
        self.assertRefused("There is no such file", "audit", "none.keras")

    def test_file_of_another_kind(self):
        path = self.temporary_path("model.keras")
        path.write_text("model")
        self.assertRefused("must be a file in the `.keras`", "info", path)

    def test_archive_that_is_no_model(self):
        path = self.temporary_path("model.keras")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "model")
        self.assertRefused("cannot be read by Keras", "audit", path)

    def test_code_in_a_lambda_is_not_run(self):
        path, _ = self.save(keras.layers.Lambda(lambda x: 2 * x))
        with mock.patch.object(
            keras.saving, "load_model", wraps=(keras.saving.load_model)
        ) as load:
            self.assertRefused("`Lambda` layer, whose Python", "audit", path)
        self.assertIs(load.call_args.kwargs["safe_mode"], True)

    def test_unknown_class_is_named(self):
        path, _ = self.save(Unregistered())
        self.assertRefused("holds 'Unregistered'", "audit", path)


class CertifyCommandTest(CommandLineTestCase):
    def setUp(self):
        super().setUp()
        self.path, self.model = self.save_classifier()
        self.x, self.y = self.normal(6, 4), np.array([0, 1, 2, 0, 1, 2])

    def test_report_is_that_of_certify(self):
        data = self.save_data(x=self.x, y=self.y)
        page = self.path.with_name("report.json")
        status, out, _ = self.run_command(
            "certify",
            self.path,
            "--data",
            data,
            "--epsilons",
            0.1,
            0.3,
            "--report",
            page,
        )
        expected = certificates.certify(
            self.model, self.x, self.y, epsilons=[0.1, 0.3]
        )
        self.assertEqual((status, out), (0, f"{expected}\n"))
        self.assertEqual(
            json.loads(page.read_text()), json.loads(expected.to_json())
        )

    def test_names_of_test_data_and_first_samples(self):
        data = self.save_data(x_train=[0], x_test=self.x, y_test=self.y)
        status, out, _ = self.run_command(
            "certify", self.path, "--data", data, "--json", "--samples", 2
        )
        self.assertEqual(status, 0)
        radius = certificates.certify(self.model, self.x, self.y).radius
        self.assertEqual(json.loads(out)["radius"], radius[:2].tolist())

    def test_page_is_written(self):
        data = self.save_data(x=self.x, y=self.y)
        page = self.path.with_name("report.html")
        command = ("certify", self.path, "--data", data, "--report", page)
        self.assertEqual(self.run_command(*command)[0], 0)
        self.assertIn("<h1>Certification report</h1>", page.read_text())
        with mock.patch.object(certify_command, "certify") as certify:
            self.assertRefused("There is something at", *command)
        certify.assert_not_called()
        self.assertEqual(self.run_command(*command, "--overwrite")[0], 0)

    def test_bad_report_is_refused_before_the_proof(self):
        data = self.save_data(x=self.x, y=self.y)
        with mock.patch.object(certify_command, "certify") as certify:
            for report, message in (
                ("out.txt", "must end in .npz, .json, .html or .png"),
                (self.path.parent / "none" / "out.png", "cannot be written to"),
            ):
                self.assertRefused(
                    message,
                    *("certify", self.path, "--data", data, "--report", report),
                )
            page = self.path.with_name("report.html")
            with mock.patch.dict(sys.modules, {"jinja2": None}):
                self.assertRefused(
                    r"keras-lip\[report\]",
                    *("certify", self.path, "--data", data, "--report", page),
                )
        certify.assert_not_called()

    def test_result_is_printed_if_its_file_cannot_be_written(self):
        data = self.save_data(x=self.x, y=self.y)
        page = self.path.with_name("report.json")
        full = ValueError("No space left on device")
        with mock.patch.object(
            certificates.CertificationReport, "save", side_effect=full
        ):
            status, out, err = self.run_command(
                "certify", self.path, "--data", data, "--report", page
            )
        expected = certificates.certify(self.model, self.x, self.y)
        self.assertEqual((status, out), (1, f"{expected}\n"))
        self.assertIn("No space left", err)

    def test_missing_labels_are_refused(self):
        data = self.save_data(x=self.x, labels=self.y)
        self.assertRefused(
            "Received: 'x', 'labels'", "certify", self.path, "--data", data
        )

    def test_other_files_are_refused(self):
        self.assertRefused(
            "no such file", "certify", self.path, "--data", "none.npz"
        )
        text = self.temporary_path("data.npz")
        text.write_text("1, 2")
        self.assertRefused(
            "must be an `.npz` file", "certify", self.path, "--data", text
        )

    def test_damaged_data_is_refused(self):
        data = self.save_data(x=self.x, y=self.y)
        content = data.read_bytes()
        # The checksum of an array, and the directory of the archive.
        for position in (150, content.rindex(b"PK\1\2") + 10):
            damaged = bytearray(content)
            damaged[position] ^= 0xFF
            data.write_bytes(damaged)
            self.assertRefused(
                "cannot be read by NumPy",
                *("certify", self.path, "--data", data),
            )

    def test_objects_are_not_unpickled(self):
        data = self.save_data(x=np.array([{}], dtype=object), y=self.y)
        self.assertRefused("allow_pickle", "certify", self.path, "--data", data)

    def test_bad_numbers_are_refused(self):
        data = self.save_data(x=self.x, y=self.y)
        command = ("certify", self.path, "--data", data)
        self.assertRefused("`epsilons` must", *command, "--epsilons", -1)
        self.assertRefused("`samples` must", *command, "--samples", 0)


class ExportCommandTest(CommandLineTestCase):
    def test_suffix_stands_for_the_format(self):
        path, _ = self.save_classifier()
        target = path.with_name("served.onnx")
        with mock.patch(
            "keras_lip.command_line.export_command.export",
            return_value=target,
        ) as export:
            status, out, _ = self.run_command("export", path, target, "--json")
        self.assertEqual(status, 0)
        self.assertEqual(export.call_args.args[1:], (target, "onnx"))
        self.assertEqual(json.loads(out)["certificate"], f"{target}.json")

    def test_unknown_suffix_is_refused(self):
        path, _ = self.save_classifier()
        self.assertRefused(
            "must be .onnx, .pt2, .tflite, .xml", "export", path, "a.docx"
        )


class InfoCommandTest(CommandLineTestCase):
    def test_versions(self):
        status, out, _ = self.run_command("info", "--json")
        content = json.loads(out)
        self.assertEqual(status, 0)
        self.assertEqual(content["keras_lip"], keras_lip.__version__)
        self.assertEqual(content["backend"], keras.backend.backend())
        self.assertEqual(content["numpy"], np.__version__)

    def test_missing_packages_are_told(self):
        with mock.patch(
            "keras_lip.command_line.info_command._PACKAGES", ("no-such-one",)
        ):
            _, out, _ = self.run_command("info")
        self.assertRegex(out, r"no-such-one +not installed")

    def test_model(self):
        path, model = self.save_classifier()
        _, out, _ = self.run_command("info", path, "--json")
        content = json.loads(out)
        self.assertEqual(content["inputs"], [[None, 4]])
        self.assertEqual(content["parameters"], model.count_params())
        self.assertEqual(
            [each["type"] for each in content["layers"]],
            ["OrthogonalDense", "MaxMin", "UnitNormDense"],
        )
        _, out, _ = self.run_command("info", path)
        self.assertRegex(out, "max_min.* +MaxMin")

    def test_packages_of_all_extras_are_listed(self):
        content = json.loads(self.run_command("info", "--json")[1])
        project = tomllib.loads(PROJECT.read_text())["project"]
        for extra in USERS:
            for requirement in project["optional-dependencies"][extra]:
                name = re.match(r"[\w-]+", requirement)[0]
                if name != "keras-lip" and name not in HELPERS:
                    self.assertIn(name, content, extra)

    def test_model_that_is_not_built(self):
        model = keras.Sequential([layers.UnitNormDense(3)], name="unbuilt")
        path = self.temporary_path("model.keras")
        with self.assertWarnsRegex(UserWarning, "not yet been built"):
            model.save(path)
        status, out, _ = self.run_command("info", path, "--json")
        self.assertEqual(status, 0)
        content = json.loads(out)
        for name in ("inputs", "outputs", "parameters"):
            self.assertIsNone(content[name])
        self.assertEqual(content["layers"][0]["type"], "UnitNormDense")
        _, out, _ = self.run_command("info", path)
        self.assertRegex(out, "inputs +unknown: the model is not built")

    def test_model_of_several_inputs(self):
        inputs = {name: keras.Input((2,), name=name) for name in "ab"}
        outputs = keras.layers.Concatenate()(list(inputs.values()))
        path = self.temporary_path("model.keras")
        keras.Model(inputs, outputs).save(path)
        _, out, _ = self.run_command("info", path, "--json")
        self.assertEqual(json.loads(out)["inputs"], [[None, 2], [None, 2]])


class ProcessTest(CommandLineTestCase):
    def run_without(self, package, *command, backend="torch"):
        """Runs Python where a package cannot be imported."""
        folder = self.temporary_path("absent.py").parent
        (folder / f"{package}.py").write_text(
            f"raise ModuleNotFoundError('No module named', name={package!r})"
        )
        paths = [str(folder), *sys.path]
        return subprocess.run(
            [sys.executable, *command],
            env={
                **os.environ,
                "KERAS_BACKEND": backend,
                "PYTHONPATH": os.pathsep.join(paths),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def test_the_package_runs(self):
        arguments = ["keras_lip", "info", "--json"]
        out = io.StringIO()
        with (
            mock.patch.object(sys, "argv", arguments),
            contextlib.redirect_stdout(out),
            self.assertRaises(SystemExit) as stop,
        ):
            runpy.run_module("keras_lip", run_name="__main__")
        self.assertEqual(stop.exception.code, 0)
        self.assertIn("keras", json.loads(out.getvalue()))

    def test_missing_backend_is_explained_in_one_line(self):
        for option in (("-m", "keras_lip"), ("-mkeras_lip",)):
            run = self.run_without("torch", *option, "info")
            self.assertEqual((run.returncode, run.stdout), (1, ""))
            (line,) = run.stderr.splitlines()
            self.assertStartsWith(line, "keras_lip: Keras cannot be imported")
            self.assertIn('pip install "keras-lip[torch]"', line)
            self.assertIn("Received: KERAS_BACKEND='torch'", line)

    def test_missing_backend_is_an_import_error_in_python(self):
        # Arguments that look like those of the command.
        run = self.run_without(
            "torch", "-c", "import keras_lip", "-m", "keras_lip"
        )
        self.assertEqual(run.returncode, 1)
        self.assertRegex(run.stderr, r"\nImportError: Keras cannot.*\[torch\]")

    def test_unknown_backend_is_explained(self):
        run = self.run_without(
            "nothing", "-m", "keras_lip", "info", backend="mxnet"
        )
        (line,) = run.stderr.splitlines()
        self.assertIn("Unable to import backend", line)
        self.assertIn('pip install "keras-lip[tensorflow]"', line)

    def test_another_missing_package_is_not_called_a_backend(self):
        run = self.run_without("absl", "-c", "import keras_lip")
        self.assertIn("ModuleNotFoundError: No module named", run.stderr)
        self.assertNotIn("backend", run.stderr.splitlines()[-1])
        run = self.run_without("absl", "-m", "keras_lip", "info")
        self.assertEqual(run.returncode, 1)
        self.assertEqual(run.stderr, "keras_lip: No module named\n")


class LipschitzModelFileTest(CommandLineTestCase):
    def test_a_model_of_the_library_is_read(self):
        model = models.LipschitzSequential(
            [keras.Input((4,)), layers.UnitNormDense(3)]
        )
        path = self.temporary_path("model.keras")
        model.save(path)
        _, out, _ = self.run_command("info", path, "--json")
        self.assertEqual(json.loads(out)["type"], "LipschitzSequential")
