import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase


class FullSortTest(LipschitzTestCase):
    @parameterized.parameters((-1, (5,)), (1, (3, 2, 2)))
    def test_contract(self, axis, shape):
        self.run_lipschitz_layer_test(
            layers.FullSort,
            init_kwargs={"axis": axis},
            input_shape=shape,
            expected_output_shape=shape,
        )

    @parameterized.parameters(-1, -2, 1)
    def test_channels_are_sorted(self, axis):
        x = self.normal(3, 4, 5)
        self.assertAllClose(
            layers.FullSort(axis)(x), np.sort(x, axis=axis), 0, 0
        )

    @parameterized.parameters(0, -2, 2)
    def test_axis_that_holds_no_channels_is_refused(self, axis):
        with self.assertRaisesRegex(ValueError, "`axis` of layer"):
            layers.FullSort(axis)(self.normal(2, 6))

    def test_unknown_number_of_channels_is_refused(self):
        with self.assertRaisesRegex(ValueError, "known number of channels"):
            layers.FullSort().build((None, None))
