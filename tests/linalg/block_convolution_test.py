import importlib
import math
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.linalg import block_convolution
from keras_lip.linalg import block_product
from tests.lipschitz_test_case import LipschitzTestCase


def sum_products(left, right, rank):
    """Returns the taps of the composition, in float64, one by one."""
    window = np.array(left.shape[:rank]) + right.shape[:rank] - 1
    matrices = np.matmul(left[(0,) * rank], right[(0,) * rank]).shape
    total = np.zeros((*window, *matrices))
    for p in np.ndindex(*left.shape[:rank]):
        for q in np.ndindex(*right.shape[:rank]):
            tap = tuple(np.add(p, q))
            total[tap] += left[p].astype("float64") @ right[q]
    return total


class BlockConvolutionTest(LipschitzTestCase):
    @parameterized.parameters(
        ((2,), (3,), ()),
        ((3,), (2,), ()),
        ((2, 1), (1, 2), ()),
        ((3, 2), (2, 2), (2,)),
        ((2, 2), (4, 1), (2,)),
    )
    def test_taps_are_sums_of_products(self, first, second, batch):
        left = self.normal(*first, *batch, 4, 3)
        right = self.normal(*second, *batch, 3, 5)
        actual = block_convolution(
            ops.convert_to_tensor(left),
            ops.convert_to_tensor(right),
            len(first),
        )
        expected = sum_products(left, right, len(first))
        self.assertAllClose(actual, expected, 1e-5)

    def test_one_convolution_follows_the_other(self):
        images = self.normal(2, 9, 8, 4)
        left, right = self.normal(2, 3, 4, 3), self.normal(3, 2, 3, 5)

        def convolve(images, kernel):
            return ops.conv(images, kernel, data_format="channels_last")

        expected = convolve(convolve(images, left), right)
        both = block_convolution(
            ops.convert_to_tensor(left), ops.convert_to_tensor(right), rank=2
        )
        self.assertAllClose(convolve(images, both), expected, 1e-4, 1e-5)


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

    @parameterized.parameters((1, 3), (3, 1), (2, 2))
    def test_batches_of_products_are_of_one_shape(self, left, right):
        if keras.backend.backend() != "tensorflow":
            self.skipTest("Only TensorFlow fails where they broadcast.")
        kernels = self.normal(left, 1, 6, 6), self.normal(right, 1, 6, 3)
        with mock.patch.object(ops, "matmul", wraps=ops.matmul) as matmul:
            block_convolution(*map(ops.convert_to_tensor, kernels), 1)
        for first, second in (call.args for call in matmul.call_args_list):
            self.assertEqual(first.shape[:-2], second.shape[:-2])

    @parameterized.parameters(*range(1, 18))
    def test_steps_in_a_row_grow_as_the_logarithm(self, count):
        module = importlib.import_module("keras_lip.linalg.block_convolution")

        def count_steps(left, right, rank):
            return np.maximum(left, right) + 1

        with mock.patch.object(module, "block_convolution", count_steps):
            steps = block_product([0] * count, rank=1)
        self.assertEqual(steps, math.ceil(math.log2(count)))
