import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.linalg import rescale_kernel
from keras_lip.proofs.convolution_norm_bound import convolution_norm_bound
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class KernelRescalingTest(LipschitzTestCase):
    @parameterized.product(
        shape=((3, 3, 2, 5), (3, 3, 5, 2), (4, 3, 2), (1, 2, 3, 3)),
        stride=(1, 2),
        scale=(1e-20, 1.0, 1e20),
    )
    def test_norm_is_at_most_one(self, shape, stride, scale):
        strides = (stride,) * (len(shape) - 2)
        kernel = self.normal(*shape, scale=scale)
        rescaled = rescale_kernel(ops.convert_to_tensor(kernel), strides)
        self.assertEqual(tuple(rescaled.shape), shape)
        bound = convolution_norm_bound(to_numpy(rescaled), strides)
        self.assertLessEqual(bound, 1 + 1e-5)
        self.assertGreater(bound, 0.4)

    def test_one_channel_of_many_filters_has_a_gradient(self):
        # Of one input channel, w / (sum of the moduli of its correlations)^1/2.
        kernel = np.array([1.0, 2.0], "float32").reshape(1, 1, 1, 2)
        rescaled = rescale_kernel(ops.convert_to_tensor(kernel), (1, 1))
        self.assertAllClose(rescaled, kernel / 5**0.5)
        slopes = gradient(
            lambda free: rescale_kernel(free, (1, 1))[..., 0],
            ops.convert_to_tensor(kernel),
        )
        # Of w1 / (w1^2 + w2^2)^1/2.
        self.assertAllClose(slopes[0, 0, 0], np.array([4.0, -2.0]) / 5**1.5)

    def test_output_channels_are_divided_as_in_theorem_2(self):
        # One channel and taps 1 and 2: the lags correlate to 2, 5 and 2.
        kernel = np.array([1.0, 2.0], "float32").reshape(2, 1, 1)
        rescaled = rescale_kernel(ops.convert_to_tensor(kernel), (1,))
        self.assertAllClose(rescaled, kernel / 3)

    def test_lags_that_strides_skip_do_not_count(self):
        # Windows that do not overlap: a single lag, of 5.
        kernel = np.array([1.0, 2.0], "float32").reshape(2, 1, 1)
        rescaled = rescale_kernel(ops.convert_to_tensor(kernel), (2,))
        self.assertAllClose(rescaled, kernel / 5**0.5)

    def test_groups_are_rescaled_on_their_own(self):
        for channels, filters in ((2, 6), (6, 4)):
            kernel = self.normal(3, 3, channels, filters)
            both = rescale_kernel(ops.convert_to_tensor(kernel), (1, 1), 2)
            for half in (slice(filters // 2), slice(filters // 2, None)):
                alone = ops.convert_to_tensor(kernel[..., half])
                self.assertAllClose(
                    to_numpy(both)[..., half], rescale_kernel(alone, (1, 1))
                )
