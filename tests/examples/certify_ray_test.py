import contextlib
import importlib.util
import io
import json
import os
import pathlib
import signal
import sys
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from absl.testing import parameterized

from keras_lip.certificates import certified_radius
from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import EXAMPLES
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = [
    pytest.mark.slow,
    on_pytorch_alone,
    # Ray leaves sockets and files to its own processes.
    pytest.mark.filterwarnings("ignore"),
]

COUNT = 1900


def make_dying(mark):
    """Returns a class of actors of which one kills itself in a batch."""
    example = load_example("certify_ray")

    class DyingCertify(example.Certify):
        def __call__(self, table):
            if not os.path.exists(mark):
                pathlib.Path(mark).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(table)

    return DyingCertify


class MissingPackagesTest(LipschitzTestCase):
    @parameterized.parameters("onnxruntime", "pyarrow")
    def test_missing_package_is_named_with_its_extra(self, package):
        with mock.patch.dict(sys.modules, {package: None}):
            sys.modules.pop("certify_ray", None)
            with self.assertRaisesRegex(
                SystemExit, rf"needs `{package}`: .*keras-lip\[ray\]"
            ):
                load_example("certify_ray")


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed."
)
class CertifyRayTest(LipschitzTestCase):
    def test_each_image_is_certified_once_by_actors_of_which_one_dies(self):
        import pyarrow.parquet as pq
        import ray

        example = load_example("certify_ray")
        folder = self.temporary_path("images").parent
        images, artifact = folder / "images", folder / "digits.onnx"
        images.mkdir()
        model = example.export_model(artifact, 1, 0)
        example.write_images(images, COUNT)
        paths = [str(EXAMPLES), *sys.path]
        ray.init(
            num_cpus=3,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": ":".join(paths)}},
        )
        self.addCleanup(ray.shutdown)
        mark = folder / "killed"
        example.certify(
            images,
            artifact,
            folder / "radii",
            COUNT,
            2,
            100,
            make_dying(str(mark)),
        )
        self.assertTrue(mark.exists())
        table = pq.read_table(folder / "radii").sort_by("id")
        x, y = example.load_digits()
        chosen = np.arange(COUNT) % len(x)
        np.testing.assert_array_equal(table["truth"].to_numpy(), y[chosen])
        # What is proven of the model bounds what the artifact says.
        proven = certified_radius(model, x)[chosen]
        found = table["radius"].to_numpy()
        self.assertTrue((found <= proven).all())
        self.assertAllClose(found, proven, 1e-4, 1e-2)
        correct = table["label"].to_numpy() == y[chosen]
        self.assertEqual(
            example.measure(folder / "radii", COUNT),
            (np.mean(correct), np.mean(correct & (found > example.EPSILON))),
        )
        # Nothing is left of runs that fail, and the older output stays.
        left = self.list_files(folder)
        arguments = images, artifact, folder / "radii"
        with self.assertRaisesRegex(ValueError, "without 100 of the images"):
            example.certify(*arguments, COUNT + 100, 1, 500)
        self.assertEqual(self.list_files(folder), left)
        artifact.write_bytes(artifact.read_bytes() + b"0")
        with self.assertRaisesRegex(Exception, "not the artifact"):
            example.certify(*arguments, COUNT, 1, 500)
        self.assertEqual(self.list_files(folder), left)

    def list_files(self, folder):
        return sorted(
            path.relative_to(folder)
            for path in folder.rglob("*")
            # Some file systems keep the names of open files that are removed.
            if not path.name.startswith(".nfs")
        )

    def write_output(self, folder, *parts):
        """Writes files with the given ids, of which even ones are right."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder.mkdir()
        for number, part in enumerate(parts):
            part = np.asarray(part)
            table = {
                "id": part,
                "truth": np.zeros(len(part), int),
                "label": (part % 2).astype("int32"),
                "radius": (part % 4 / 10).astype("float32"),
            }
            pq.write_table(pa.table(table), folder / f"{number}.parquet")

    def test_cluster_of_the_address_is_taken_as_it_is(self):
        example = load_example("certify_ray")
        with mock.patch("ray.init") as init:
            with mock.patch.dict(os.environ, {"RAY_ADDRESS": "auto"}):
                example.start_ray(2)
            init.assert_called_once_with()
            example.start_ray(2)
        self.assertEqual(init.call_args.kwargs["num_cpus"], 3)

    def test_output_has_each_image_once(self):
        example = load_example("certify_ray")
        folder = self.temporary_path("output").parent
        self.write_output(folder / "whole", [2, 0], [3, 1])
        example.check_output(folder / "whole", 4)
        # Zero and two are right, and the radius of two is 0.2.
        self.assertEqual(example.measure(folder / "whole", 4), (0.5, 0.25))
        for name, parts, message in (
            ("missing", ([0, 1], [3]), "3 rows, without 1 "),
            ("twice", ([0, 1, 2], [3, 2]), "5 rows, without 0 "),
            ("instead", ([0, 1, 2], [2]), "4 rows, without 1 "),
            ("unknown", ([0, 1, 2, 3], [4]), "5 rows, without 0 "),
            ("negative", ([0, 1, 2], [-1]), "4 rows, without 1 "),
            ("nothing", (), "0 rows, without 4 "),
        ):
            self.write_output(folder / name, *parts)
            with self.assertRaisesRegex(ValueError, message):
                example.check_output(folder / name, 4)

    def test_check_holds_a_byte_for_each_image_and_a_part_of_a_file(self):
        example = load_example("certify_ray")
        folder, count = self.temporary_path("output"), 1_000_000
        ids = np.random.default_rng(0).permutation(count)
        self.write_output(folder, *np.split(ids, 4))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        example.check_output(folder, count)
        self.assertLess(tracemalloc.get_traced_memory()[1], 3 * count)

    @parameterized.parameters(
        ("--images", "0"),
        ("--images", "-1"),
        ("--workers", "2", "0"),
        ("--batch-size", "0"),
        ("--batch-size", "many"),
    )
    def test_numbers_must_be_positive(self, *options):
        example = load_example("certify_ray")
        folder, errors = self.temporary_path("output"), io.StringIO()
        with contextlib.redirect_stderr(errors):
            with self.assertRaises(SystemExit) as stop:
                example.main(["--smoke", "--output", str(folder), *options])
        self.assertEqual(stop.exception.code, 2)
        self.assertRegex(errors.getvalue(), "must be a positive integer")
        self.assertFalse(folder.exists())

    def test_old_output_stays_until_the_new_one_is_there(self):
        example = load_example("certify_ray")
        folder = self.temporary_path("output").parent
        self.write_output(folder / "radii", [0])
        self.write_output(folder / "new", [1, 2])
        with mock.patch.object(
            pathlib.Path, "rename", side_effect=OSError("full")
        ):
            with self.assertRaisesRegex(OSError, "full"):
                example.replace_folder(folder / "new", folder / "radii")
        example.check_output(folder / "radii", 1)
        self.write_output(folder / "old_radii", [5])
        example.replace_folder(folder / "new", folder / "radii")
        self.assertEqual([path.name for path in folder.iterdir()], ["radii"])

    def test_other_artifact_is_refused(self):
        example = load_example("certify_ray")
        path = self.temporary_path("model.onnx")
        path.write_bytes(b"other")
        with self.assertRaisesRegex(ValueError, "not the artifact"):
            example.Certify(path, "0" * 64)

    def test_missing_ray_is_named(self):
        example = load_example("certify_ray")
        with mock.patch.dict(sys.modules, {"ray": None}):
            with self.assertRaisesRegex(
                SystemExit, r"needs `ray`: .*keras-lip\[ray\]"
            ):
                example.main(["--smoke"])

    def test_smoke_run_writes_its_results(self):
        example = load_example("certify_ray")
        folder = self.temporary_path("output")
        with (
            mock.patch.dict(
                os.environ, {"PYTHONPATH": ":".join([str(EXAMPLES), *sys.path])}
            ),
            mock.patch("builtins.print"),
        ):
            example.main(["--smoke", "--output", str(folder)])
        results = json.loads((folder / "certify_ray.json").read_text())
        self.assertEqual(results["images"], 2000)
        self.assertEqual(list(results["images_per_second"]), ["2"])
        self.assertLess(results["certified_accuracy"], results["accuracy"])
