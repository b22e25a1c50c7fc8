import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.flip import flip
from tests.lipschitz_test_case import LipschitzTestCase


class FlipTest(LipschitzTestCase):
    @parameterized.parameters([()], [(1,)], [(0, 2)], [(-1, 0, 1)])
    def test_flipped_axes_are_those_of_numpy(self, axes):
        x = np.arange(24.0).reshape(2, 3, 4)
        flipped = flip(ops.convert_to_tensor(x), axes)
        self.assertAllClose(flipped, np.flip(x, axes), 0, 0)
