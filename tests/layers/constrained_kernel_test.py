import numpy as np
from keras import ops

from keras_lip.layers.constrained_kernel import shrink_kernel
from keras_lip.proofs.convolution_norm_bound import convolution_norm_bound
from keras_lip.proofs.matrix_norms import spectral_norm_bound
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def make_signs():
    """Returns an orthogonal matrix times 16, of signs, with equal row sums."""
    signs = np.ones((1, 1))
    for _ in range(4):
        signs = np.kron(signs, np.ones((4, 4)) - 2 * np.eye(4)[::-1])
    return signs


class ShrinkKernelTest(LipschitzTestCase):
    def test_roundings_that_all_stretch_one_direction_are_covered(self):
        # Divided by the norm, the positive entries are rounded up, and the
        # negative ones towards zero. So the sum of all entries grows by 256
        # roundings, which is 16 times more than the norm of each entry's share.
        kernel = np.where(
            make_signs() > 0,
            float.fromhex("0x1.c0f6e2p-4"),
            -float.fromhex("0x1.c0f61ap-4"),
        ).astype("float32")
        bound = spectral_norm_bound(kernel)
        plain = kernel * np.float32((1 - 2.0**-22) / bound)
        ones = np.full(256, 1 / 16)
        stretch = np.linalg.norm(plain.astype("float64") @ ones)
        self.assertGreater(stretch, 1 + 2e-7)

        found = to_numpy(shrink_kernel(ops.convert_to_tensor(kernel), bound))
        norm = spectral_norm_bound(found)
        self.assertBetween(norm, 1 - 3e-6, 1.0)
        # The same matrix as one of the taps of a convolution.
        taps = kernel.reshape(1, 1, 256, 256)
        found = shrink_kernel(ops.convert_to_tensor(taps), bound, taps=9)
        self.assertLessEqual(convolution_norm_bound(to_numpy(found)), 1.0)

    def test_kernels_of_norm_one_are_kept(self):
        kernel = ops.convert_to_tensor(np.eye(3, dtype="float32"))
        self.assertIs(shrink_kernel(kernel, 1.0), kernel)
