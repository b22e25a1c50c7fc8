import importlib
import math
from unittest import mock

import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.linalg import block_product
from tests.linalg.block_convolution_test import sum_products
from tests.lipschitz_test_case import LipschitzTestCase


class BlockProductTest(LipschitzTestCase):
    @parameterized.parameters(1, 2, 3, 5, 6)
    def test_kernels_follow_one_another(self, count):
        shapes = [(2, 1) if n % 2 else (1, 2) for n in range(count)]
        kernels = [self.normal(*shape, 2, 3, 3) for shape in shapes]
        expected = kernels[0].astype("float64")
        for kernel in kernels[1:]:
            expected = sum_products(expected, kernel, rank=2)
        actual = block_product([ops.convert_to_tensor(k) for k in kernels], 2)
        self.assertAllClose(actual, expected, 1e-4, 1e-5)

    @parameterized.parameters(*range(1, 18))
    def test_steps_in_a_row_grow_as_the_logarithm(self, count):
        module = importlib.import_module("keras_lip.linalg.block_convolution")

        def count_steps(left, right, rank):
            return np.maximum(left, right) + 1

        with mock.patch.object(module, "block_convolution", count_steps):
            steps = block_product([0] * count, rank=1)
        self.assertEqual(steps, math.ceil(math.log2(count)))
