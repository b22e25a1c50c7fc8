import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.linalg import merge_phases
from keras_lip.linalg import split_phases
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class KernelPhasesTest(LipschitzTestCase):
    @parameterized.parameters(((3, 3), (2, 2)), ((5, 2), (3, 1)), ((4,), (2,)))
    def test_merging_undoes_splitting(self, window, strides):
        kernel = self.normal(*window, 2, 3)
        split = split_phases(ops.convert_to_tensor(kernel), strides)
        self.assertAllClose(merge_phases(split, window, strides), kernel, 0, 0)

    def test_taps_meet_the_phases_of_the_image(self):
        kernel, images = self.normal(3, 2, 4), self.normal(2, 8, 2)
        strided = ops.conv(
            images, kernel, strides=2, data_format="channels_last"
        )
        # Step `2 q + r` becomes channels `2 r` and `2 r + 1` of step `q`.
        phases = images.reshape(2, 4, 4)
        split = split_phases(ops.convert_to_tensor(kernel), (2,))
        self.assertEqual(tuple(split.shape), (2, 4, 4))
        unstrided = ops.conv(phases, split, data_format="channels_last")
        self.assertAllClose(to_numpy(strided), unstrided, 1e-5)
        self.assertGreater(np.abs(to_numpy(strided)).max(), 0.1)
