import json

import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import EXAMPLES
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = [pytest.mark.slow, on_pytorch_alone]

DATA = EXAMPLES.with_name("docs") / "data" / "depth.json"


class DepthTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.script = load_example("depth")

    def test_short_run_is_proven_and_writes_everything(self):
        output = self.temporary_path("depth")
        self.script.main(["--smoke", "--output", str(output)])
        results = json.loads((output / "depth.json").read_text())
        self.assertEqual(
            [each["depth"] for each in results["curves"]], [3, 5, 5]
        )
        for curve in results["curves"]:
            self.assertLen(curve["accuracy"], 1)
            # Without the head the network is 1-Lipschitz.
            self.assertBetween(curve["bound"], 0.99, 10**0.5 + 1e-5)
        picture = (output / "depth.png").read_bytes()
        self.assertEqual(picture[:4], b"\x89PNG")

    def test_published_networks_of_all_depths_train(self):
        results = json.loads(DATA.read_text())
        *deep, zero = results["curves"]
        self.assertEqual(
            tuple(each["depth"] for each in deep), self.script.DEPTHS
        )
        for curve in deep:
            self.assertGreater(curve["accuracy"][-1], 0.9)
        self.assertEqual((zero["depth"], zero["bias"]), (1000, 0))
        self.assertLess(zero["accuracy"][-1], 0.2)
        path = self.temporary_path("depth.png")
        self.script.draw(results, path)
        self.assertEqual(path.read_bytes()[:4], b"\x89PNG")
