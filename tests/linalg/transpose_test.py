import numpy as np
from keras import ops

from keras_lip.linalg import transpose
from tests.lipschitz_test_case import LipschitzTestCase


class TransposeTest(LipschitzTestCase):
    def test_last_two_axes_are_swapped(self):
        for shape in (2, 3), (4, 2, 3), (5, 4, 2, 3):
            matrix = self.normal(*shape)
            actual = transpose(ops.convert_to_tensor(matrix))
            self.assertAllClose(actual, np.swapaxes(matrix, -2, -1), 0, 0)
