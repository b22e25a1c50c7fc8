import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

import keras_lip
from keras_lip.layers.activations.channel_groups import check_groups
from keras_lip.layers.activations.channel_groups import merge_groups
from keras_lip.layers.activations.channel_groups import split_groups
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class ChannelGroupsTest(LipschitzTestCase):
    @parameterized.named_parameters(
        ("last", (3, 6), -1, 2, (3, 3, 2), 2),
        ("first", (3, 6, 2), 1, 3, (3, 2, 3, 2), 2),
        ("middle", (3, 2, 4, 2), -2, 2, (3, 2, 2, 2, 2), 3),
    )
    def test_groups_are_consecutive_channels_of_a_sample(
        self, shape, axis, size, expected_shape, expected_axis
    ):
        inputs = self.normal(*shape)
        tensor = ops.convert_to_tensor(inputs)
        groups, group_axis = split_groups(tensor, axis, size)
        self.assertEqual(group_axis, expected_axis)
        self.assertAllClose(groups, inputs.reshape(expected_shape), 0, 0)
        self.assertAllClose(merge_groups(groups, tensor), inputs, 0, 0)

    def test_groups_are_not_made_across_samples(self):
        # A layer that was built on four channels is called on three.
        layer = keras_lip.layers.MaxMin()
        layer(self.normal(2, 4))
        with self.assertRaisesRegex(ValueError, "a multiple of 2. Received: 3"):
            layer(self.normal(2, 3))

    @parameterized.parameters(0, -2, 2, -3)
    def test_wrong_axis_is_refused(self, axis):
        with self.assertRaisesRegex(ValueError, "`axis` of layer 'mine' must"):
            check_groups(keras.layers.Identity(name="mine"), (None, 4), axis, 2)

    @parameterized.parameters(3, None)
    def test_wrong_number_of_channels_is_refused(self, channels):
        with self.assertRaisesRegex(ValueError, "'mine' needs a number of cha"):
            check_groups(
                keras.layers.Identity(name="mine"), (None, channels), -1, 2
            )

    def test_order_of_samples_is_kept(self):
        layer = keras_lip.layers.GroupSort(3)
        inputs = np.arange(12, 0, -1, dtype="float32").reshape(2, 6)
        expected = [[10, 11, 12, 7, 8, 9], [4, 5, 6, 1, 2, 3]]
        self.assertAllClose(to_numpy(layer(inputs)), expected, 0, 0)
