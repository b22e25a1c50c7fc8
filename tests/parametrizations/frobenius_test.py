import numpy as np
from absl.testing import parameterized

from keras_lip import parametrizations
from tests.lipschitz_test_case import LipschitzTestCase


class FrobeniusTest(LipschitzTestCase):
    @parameterized.product(
        shape=((5, 5), (7, 1), (4, 7), (3, 6, 2)), scale=(1e-20, 1.0, 1e20)
    )
    def test_norm_is_one(self, shape, scale):
        image, _ = parametrizations.Frobenius()(
            self.normal(*shape, scale=scale)
        )
        norms = np.linalg.norm(image, axis=(-2, -1))
        self.assertAllClose(norms, np.ones_like(norms))

    def test_zero_stays_zero(self):
        image, _ = parametrizations.Frobenius()(np.zeros((3, 2), "float32"))
        self.assertAllClose(image, np.zeros((3, 2)))
