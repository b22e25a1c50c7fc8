import math

import keras
from absl.testing import parameterized
from keras import ops

from keras_lip.bounds import lipschitz_bound
from tests.lipschitz_test_case import LipschitzTestCase


class PartsTest(LipschitzTestCase):
    """Parts of one tensor are bounded together, whatever sizes are open."""

    @parameterized.parameters(
        (lambda x: [x[:, :, :2], x[:, :, 2:]], 2, 1.0),
        (lambda x: [x[:, :, :3], x[:, :, 1:]], 2, math.sqrt(2)),
        (lambda x: [x, x], 2, math.sqrt(2)),
        # Along an open axis slices may overlap or not.
        (lambda x: [x[:, :3], x[:, 1:3]], 1, math.sqrt(2)),
        (lambda x: [x[:, :-1], x[:, 1:]], 1, math.sqrt(2)),
    )
    def test_concatenated_slices(self, split, axis, expected):
        inputs = keras.Input((None, 4))
        outputs = ops.concatenate(split(inputs), axis=axis)
        bound = lipschitz_bound(keras.Model(inputs, outputs))
        self.assertAlmostEqual(bound, expected, delta=1e-12)
