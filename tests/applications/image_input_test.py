from absl.testing import parameterized

from keras_lip.applications.image_input import check_image_shape
from keras_lip.applications.image_input import make_image_input
from tests.lipschitz_test_case import LipschitzTestCase


class ImageInputTest(LipschitzTestCase):
    def test_a_shape_that_fits_is_taken(self):
        self.assertEqual(check_image_shape([8, 12, 3], 4), (8, 12, 3))
        self.assertEqual(check_image_shape((5, 7, 1)), (5, 7, 1))
        inputs = make_image_input((8, 12, 3), 4)
        self.assertEqual(tuple(inputs.shape), (None, 8, 12, 3))

    @parameterized.parameters(32, ((32, 32),), ((None, 32, 32, 3),))
    def test_a_shape_of_another_rank_is_refused(self, shape):
        with self.assertRaisesRegex(
            ValueError, r"`\(height, width, channels\)`, without a batch axis"
        ):
            check_image_shape(shape)

    @parameterized.parameters(
        ((None, 32, 3),), ((32, 0, 3),), ((32, 32, 1.5),), ("abc",)
    )
    def test_sizes_must_be_known(self, shape):
        with self.assertRaisesRegex(
            ValueError, "`input_shape` must be a positive integer"
        ):
            check_image_shape(shape)

    def test_sides_must_be_multiples(self):
        with self.assertRaisesRegex(
            ValueError,
            r"must be multiples of 32, .*Received: input_shape=\(28, 64, 1\)\. "
            r"Pad the images to \(32, 64, 1\)",
        ):
            check_image_shape((28, 64, 1), 32)
        with self.assertRaisesRegex(ValueError, r"images to \(32, 64, 1\)"):
            check_image_shape((32, 33, 1), 32)
