import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase


class MaxMinTest(LipschitzTestCase):
    @parameterized.parameters(
        (-1, (6,)), (-1, (3, 2, 4)), (1, (4, 3, 2)), (-2, (2, 6, 5))
    )
    def test_contract(self, axis, shape):
        self.run_lipschitz_layer_test(
            layers.MaxMin,
            init_kwargs={"axis": axis},
            input_shape=shape,
            expected_output_shape=shape,
        )

    def test_neighbours_become_maximum_and_minimum(self):
        x = np.array([[3.0, 1.0, 2.0, 4.0], [0.0, 0.0, -1.0, 1.0]])
        outputs = layers.MaxMin()(x)
        expected = [[3.0, 1.0, 4.0, 2.0], [0.0, 0.0, 1.0, -1.0]]
        self.assertAllClose(outputs, expected, 0, 0)

    def test_odd_number_of_channels_is_refused(self):
        with self.assertRaisesRegex(ValueError, "multiple of 2.*5 channels"):
            layers.MaxMin()(self.normal(2, 5))
        with self.assertRaisesRegex(ValueError, "`axis` of layer"):
            layers.MaxMin(axis=3)(self.normal(2, 6))
