import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase


class PadChannelsTest(LipschitzTestCase):
    @parameterized.parameters(
        (-1, (3,), (5,)), (1, (3, 2, 2), (5, 2, 2)), (-2, (5, 2), (5, 2))
    )
    def test_contract(self, axis, shape, expected_shape):
        self.run_lipschitz_layer_test(
            layers.PadChannels,
            init_kwargs={"channels": 5, "axis": axis},
            input_shape=shape,
            expected_output_shape=expected_shape,
        )

    @parameterized.parameters(-1, 1)
    def test_zeros_follow_the_channels(self, axis):
        x = self.normal(2, 3, 4)
        pads = [(0, 0)] * 3
        pads[axis] = (0, 6 - x.shape[axis])
        outputs = layers.PadChannels(6, axis)(x)
        self.assertAllClose(outputs, np.pad(x, pads), 0, 0)

    def test_too_many_channels_are_refused(self):
        layer = layers.PadChannels(4)
        with self.assertRaisesRegex(ValueError, "to 4 channels.*: 5 channels"):
            layer(self.normal(2, 5))

    def test_another_number_of_channels_is_refused(self):
        layer = layers.PadChannels(4)
        layer(self.normal(2, 3))
        with self.assertRaisesRegex(ValueError, "expected axis -1"):
            layer(self.normal(2, 4))

    def test_invalid_arguments_are_refused(self):
        for channels in (0, 1.5):
            with self.assertRaisesRegex(ValueError, "`channels` must be a"):
                layers.PadChannels(channels)
        with self.assertRaisesRegex(ValueError, "`axis` of layer"):
            layers.PadChannels(4, axis=0)(self.normal(2, 3))
