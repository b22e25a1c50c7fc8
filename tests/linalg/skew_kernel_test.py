from absl.testing import parameterized
from keras import ops

from keras_lip.linalg import skew_kernel
from keras_lip.operators import ConvolutionOperator
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class SkewKernelTest(LipschitzTestCase):
    @parameterized.product(
        padding_mode=("circular", "zeros"), window=((3, 3), (1, 5), (5, 3))
    )
    def test_matrix_is_skew_symmetric(self, padding_mode, window):
        kernel = skew_kernel(ops.convert_to_tensor(self.normal(*window, 2, 2)))
        operator = ConvolutionOperator(padding_mode=padding_mode)
        matrix = to_numpy(operator.as_matrix(kernel, (5, 6, 2)))
        self.assertAllClose(matrix, -matrix.T, atol=0, rtol=0)
        self.assertGreater(abs(matrix).max(), 1)

    def test_skew_symmetric_kernels_are_doubled(self):
        kernel = skew_kernel(ops.convert_to_tensor(self.normal(3, 3, 2, 2)))
        self.assertAllClose(skew_kernel(kernel), 2 * to_numpy(kernel), 0, 0)
