"""Runs the Spark block of the page on distribution, where Spark can run."""

import contextlib
import importlib.util
import os
import shutil
import sys
from unittest import mock

import numpy as np
import pytest

from keras_lip.certificates import certified_radius
from tests.docs.code_blocks_test import PAGES
from tests.docs.code_blocks_test import find_blocks
from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = [
    pytest.mark.slow,
    on_pytorch_alone,
    pytest.mark.skipif(
        importlib.util.find_spec("pyspark") is None,
        reason="Spark is not installed.",
    ),
    pytest.mark.skipif(
        shutil.which("java") is None, reason="Spark needs Java."
    ),
    # Spark leaves sockets to its Java process.
    pytest.mark.filterwarnings("ignore"),
]

COUNT = 3000


class SparkBlockTest(LipschitzTestCase):
    def test_each_image_is_certified_once(self):
        import pyarrow.parquet as pq
        from pyspark.sql import SparkSession

        (code,) = [
            code
            for code, _ in find_blocks(PAGES["docs/distribute.md"])
            if "pyspark" in code
        ]
        example = load_example("certify_ray")
        folder = self.temporary_path("certify_ray")
        images = folder / "images"
        images.mkdir(parents=True)
        model = example.export_model(folder / "digits.onnx", 1, 0)
        example.write_images(images, COUNT)
        self.enterContext(
            mock.patch.dict(os.environ, {"PYSPARK_PYTHON": sys.executable})
        )
        self.enterContext(contextlib.chdir(folder.parent))
        spark = (
            SparkSession.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .getOrCreate()
        )
        self.addCleanup(spark.stop)
        exec(compile(code, "docs/distribute.md", "exec"), {"spark": spark})
        table = pq.read_table(folder.parent / "radii").sort_by("id")
        np.testing.assert_array_equal(table["id"].to_numpy(), np.arange(COUNT))
        x, y = example.load_digits()
        chosen = np.arange(COUNT) % len(x)
        np.testing.assert_array_equal(table["truth"].to_numpy(), y[chosen])
        certificates = table["certificate"].combine_chunks()
        found = certificates.field("radius").to_numpy()
        labels = certificates.field("label").to_numpy()
        np.testing.assert_array_equal(
            labels, np.argmax(model.predict(x, verbose=0), axis=-1)[chosen]
        )
        # What is proven of the model bounds what the artifact says.
        proven = certified_radius(model, x)[chosen]
        self.assertTrue((found <= proven).all())
        self.assertAllClose(found, proven, 1e-4, 1e-2)
