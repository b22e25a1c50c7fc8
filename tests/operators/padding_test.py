import keras
import numpy as np
from keras import ops

from keras_lip.operators import pad_zeros
from tests.lipschitz_test_case import LipschitzTestCase

WIDTHS = [(0, 0), (1, 2), (0, 3)]


class PadZerosTest(LipschitzTestCase):
    def test_zeros_are_added_before_and_after(self):
        x = self.normal(2, 3, 4)
        padded = pad_zeros(ops.convert_to_tensor(x), WIDTHS)
        self.assertAllClose(padded, np.pad(x, WIDTHS), 0, 0)

    def test_zeros_are_added_where_torch_compiles(self):
        if keras.backend.backend() != "torch":
            self.skipTest("The test is of `torch.compile`.")
        import torch

        x = self.normal(2, 3, 4)
        pad = torch.compile(
            lambda x: pad_zeros(x, WIDTHS), fullgraph=True, backend="eager"
        )
        self.assertAllClose(pad(torch.tensor(x)), np.pad(x, WIDTHS), 0, 0)
