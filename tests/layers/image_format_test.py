import keras
from absl.testing import parameterized

from keras_lip.layers.image_format import check_data_format
from keras_lip.layers.image_format import check_sizes
from keras_lip.layers.image_format import image_axes
from tests.lipschitz_test_case import LipschitzTestCase


class ImageFormatTest(LipschitzTestCase):
    def test_data_format_defaults_to_that_of_keras(self):
        self.addCleanup(
            keras.config.set_image_data_format,
            keras.config.image_data_format(),
        )
        for data_format in ("channels_first", "channels_last"):
            keras.config.set_image_data_format(data_format)
            self.assertEqual(check_data_format(None), data_format)
        self.assertEqual(check_data_format("channels_first"), "channels_first")

    def test_unknown_data_format_is_refused(self):
        with self.assertRaisesRegex(ValueError, "Unknown data_format: 'NHWC'"):
            check_data_format("NHWC")

    def test_one_size_stands_for_two(self):
        self.assertEqual(check_sizes("size", 3), (3, 3))
        self.assertEqual(check_sizes("size", [3, 1]), (3, 1))

    @parameterized.parameters(0, 1.5, "2", True, None, [[2, 0]], [(1, 2, 3)])
    def test_other_sizes_are_refused(self, *size):
        with self.assertRaisesRegex(ValueError, "`size` must be a positive"):
            check_sizes("size", size[0])

    def test_axes_are_those_of_the_sides(self):
        self.assertEqual(image_axes("channels_last"), (1, 2))
        self.assertEqual(image_axes("channels_first"), (2, 3))
