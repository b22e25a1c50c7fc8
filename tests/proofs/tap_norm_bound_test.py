import math

import numpy as np
from absl.testing import parameterized

from keras_lip.proofs.convolution_norm_bound import convolution_norm_bound
from keras_lip.proofs.convolution_norm_bound import tap_norm_bound
from tests.lipschitz_test_case import LipschitzTestCase


class TapNormBoundTest(LipschitzTestCase):
    @parameterized.parameters(1e-150, 1.0, 1e150)
    def test_bounds_the_norm(self, scale):
        for shape in ((3, 3, 4, 4), (1, 5, 3, 2), (3, 2, 6)):
            kernel = self.rng.normal(size=shape)
            norm = convolution_norm_bound(kernel)
            bound = tap_norm_bound(kernel * scale) / scale
            self.assertGreater(bound, 0.99 * norm)
            self.assertLess(bound, 2.2 * norm)

    def test_single_taps_are_bounded_by_their_norm(self):
        kernel = np.zeros((3, 3, 3, 4))
        kernel[0, 2] = self.rng.normal(size=(3, 4))
        norm = self.singular_values(kernel[0, 2]).max()
        bound = tap_norm_bound(kernel)
        self.assertGreaterEqual(bound, norm)
        self.assertLess(bound, norm * (1 + 1e-12))

    def test_constant_kernels_are_bounded_by_their_sum(self):
        bound = tap_norm_bound(np.ones((3, 3, 1, 1)))
        self.assertGreaterEqual(bound, 9)
        self.assertLess(bound, 9 * (1 + 1e-12))

    def test_zero_and_infinity(self):
        kernel = np.zeros((3, 3, 2, 2))
        self.assertLess(tap_norm_bound(kernel), 1e-100)
        kernel[0, 0, 0, 0] = math.nan
        self.assertEqual(tap_norm_bound(kernel), math.inf)
