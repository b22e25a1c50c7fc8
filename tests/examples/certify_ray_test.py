import importlib.util
import json
import os
import pathlib
import signal
import sys
from unittest import mock

import numpy as np
import pytest

from keras_lip.certificates import certified_radius
from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import EXAMPLES
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = [
    pytest.mark.slow,
    on_pytorch_alone,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed."
    ),
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


class CertifyRayTest(LipschitzTestCase):
    def test_each_image_is_certified_once_by_actors_of_which_one_dies(self):
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
        table = example.read_output(folder / "radii", COUNT)
        x, y = example.load_digits()
        chosen = np.arange(COUNT) % len(x)
        np.testing.assert_array_equal(table["truth"].to_numpy(), y[chosen])
        # What is proven of the model bounds what the artifact says.
        proven = certified_radius(model, x)[chosen]
        found = table["radius"].to_numpy()
        self.assertTrue((found <= proven).all())
        self.assertAllClose(found, proven, 1e-4, 1e-2)
        with self.assertRaisesRegex(ValueError, "without 100 of the images"):
            example.read_output(folder / "radii", COUNT + 100)
        # Nothing is left of a run whose actors refuse to start.
        artifact.write_bytes(artifact.read_bytes() + b"0")
        with self.assertRaisesRegex(Exception, "not the artifact"):
            example.certify(images, artifact, folder / "radii", COUNT, 1, 500)
        self.assertFalse((folder / "radii").exists())

    def test_other_artifact_is_refused(self):
        example = load_example("certify_ray")
        path = self.temporary_path("model.onnx")
        path.write_bytes(b"other")
        with self.assertRaisesRegex(ValueError, "not the artifact"):
            example.Certify(path, "0" * 64)

    def test_missing_ray_is_named(self):
        example = load_example("certify_ray")
        with mock.patch.dict(sys.modules, {"ray": None}):
            with self.assertRaisesRegex(SystemExit, r"keras-lip\[ray\]"):
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
