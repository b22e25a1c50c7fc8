import numpy as np
from absl.testing import parameterized

from keras_lip import parametrizations
from tests.lipschitz_test_case import LipschitzTestCase

NAMES = (
    "aol",
    "bjorck",
    "cayley",
    "cholesky",
    "exponential",
    "frobenius",
    "qr",
    "spectral",
)


class ParametrizationTest(LipschitzTestCase):
    @parameterized.parameters(*NAMES)
    def test_matrices_without_rows_or_columns_are_refused(self, name):
        parametrization = parametrizations.get(name)
        for shape in ((), (3,), (0, 3), (3, 0)):
            with self.assertRaisesRegex(
                ValueError, r"takes a matrix of shape .* Received: matrix.shape"
            ) as caught:
                parametrization(np.ones(shape, dtype="float32"))
            self.assertIn(f"matrix.shape={shape}", str(caught.exception))
