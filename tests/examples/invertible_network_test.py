import json
from unittest import mock

import numpy as np
import pytest

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = pytest.mark.slow


class InvertibleNetworkTest(LipschitzTestCase):
    @on_pytorch_alone
    def test_smoke_run_keeps_its_bounds(self):
        script = load_example("invertible_network")
        output = self.temporary_path("invertible_network")
        with mock.patch("builtins.print"):
            script.main(["--smoke", "--output", str(output)])
        self.assertEqual(
            sorted(path.name for path in output.iterdir()),
            ["invertible_network.json", "invertible_network.png"],
        )
        path = output / "invertible_network.json"
        results = json.loads(path.read_text())
        (row,) = results["scales"]
        self.assertEqual(row["scale"], 0.5)
        # Two blocks of `1 + 0.5`, and a last layer of at least one.
        self.assertGreaterEqual(row["lipschitz_bound"], 1.5**2 - 1e-4)
        for each in row["block"]:
            self.assertLess(each["error"], each["bound_before"])
            self.assertLess(each["error"], each["bound_after"])
        bounds = [each["bound_before"] for each in row["block"]]
        rates = np.divide(bounds[1:], bounds[:-1])
        self.assertAllClose(rates, np.full(11, 0.5), 1e-4)
        for each in row["network"]:
            self.assertLess(each["error"], each["bound"])
        self.assertLess(row["network"][-1]["error"], 1e-5)

    def test_errors_of_several_blocks_add_up(self):
        script = load_example("invertible_network")
        block = layers.InvertibleResidual(
            layers.OrthogonalDense(
                3, kernel_initializer=np.zeros((3, 3)), use_bias=False
            ),
            scale=0.5,
        )
        # The kernel of a free matrix of zero is the identity: `y = 1.5 x`.
        outputs = np.array([[1.5, 3.0, 0.0]])
        block(outputs)
        exact = script.bound_error([block], [outputs / 1.5, outputs])
        self.assertLess(exact[0], 1e-6)
        values = [outputs / 2.25 + [[0.0, 0.1, 0.0]], outputs / 1.5, outputs]
        found = script.bound_error([block, block], values)
        self.assertBetween(found[0], 0.1, 0.1 * 1.5 / 0.5 + 1e-6)
        # The error of the second block passes through the first one.
        between = outputs / 1.5 + [[0.0, 0.1, 0.0]]
        values = [between / 1.5, between, outputs]
        found = script.bound_error([block, block], values)
        self.assertBetween(found[0], 0.1 / 1.5, 0.1 * 1.5 / 0.5**2 + 1e-6)
