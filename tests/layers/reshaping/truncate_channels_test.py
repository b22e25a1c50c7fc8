from absl.testing import parameterized

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase


class TruncateChannelsTest(LipschitzTestCase):
    @parameterized.parameters(
        (-1, (5,), (2,)), (1, (3, 2, 2), (2, 2, 2)), (-2, (2, 3), (2, 3))
    )
    def test_contract(self, axis, shape, expected_shape):
        self.run_lipschitz_layer_test(
            layers.TruncateChannels,
            init_kwargs={"channels": 2, "axis": axis},
            input_shape=shape,
            expected_output_shape=expected_shape,
        )

    def test_first_channels_are_kept(self):
        x = self.normal(2, 3, 4)
        self.assertAllClose(layers.TruncateChannels(3)(x), x[..., :3], 0, 0)
        self.assertAllClose(layers.TruncateChannels(2, 1)(x), x[:, :2], 0, 0)

    def test_padding_is_undone(self):
        x = self.normal(2, 3)
        padded = layers.PadChannels(5)(x)
        self.assertAllClose(layers.TruncateChannels(3)(padded), x, 0, 0)

    def test_too_few_channels_are_refused(self):
        layer = layers.TruncateChannels(4)
        with self.assertRaisesRegex(ValueError, "to 4 channels.*: 3 channels"):
            layer(self.normal(2, 3))

    def test_another_number_of_channels_is_refused(self):
        layer = layers.TruncateChannels(4)
        layer(self.normal(2, 5))
        with self.assertRaisesRegex(ValueError, "expected axis -1"):
            layer(self.normal(2, 3))

    def test_invalid_arguments_are_refused(self):
        for channels in (0, 1.5):
            with self.assertRaisesRegex(ValueError, "`channels` must be a"):
                layers.TruncateChannels(channels)
        with self.assertRaisesRegex(ValueError, "`axis` of layer"):
            layers.TruncateChannels(1, axis=0)(self.normal(2, 3))
