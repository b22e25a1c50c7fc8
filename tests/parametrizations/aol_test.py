from absl.testing import parameterized

from keras_lip import parametrizations
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class AOLTest(LipschitzTestCase):
    @parameterized.product(
        shape=((5, 5), (7, 4), (4, 7), (3, 6, 2)), scale=(0.02, 1.0, 20.0)
    )
    def test_norm_is_at_most_one(self, shape, scale):
        image, _ = parametrizations.AOL()(self.normal(*shape, scale=scale))
        self.assertEqual(tuple(image.shape), shape)
        self.assertLessEqual(self.singular_values(image).max(), 1 + 1e-6)

    def test_columns_are_divided_as_in_theorem_1(self):
        # Columns (3, 4) and (0, 2): W^T W = [[25, 8], [8, 4]].
        image, _ = parametrizations.AOL()([[3.0, 0.0], [4.0, 2.0]])
        self.assertAllClose(to_numpy(image)[:, 0], [3 / 33**0.5, 4 / 33**0.5])
        self.assertAllClose(to_numpy(image)[:, 1], [0, 2 / 12**0.5])
