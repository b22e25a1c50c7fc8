import math

import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.linalg import apply_exponential
from keras_lip.operators import DenseOperator
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class OperatorExponentialTest(LipschitzTestCase):
    @parameterized.product(terms=(1, 4, 9), start=(0, 1))
    def test_is_taylors_polynomial(self, terms, start):
        kernel = ops.convert_to_tensor(self.normal(5, 5, scale=0.5))
        x = self.normal(3, 5)
        operator = DenseOperator()
        matrix = to_numpy(operator.as_matrix(kernel, (5,))).astype("float64")
        polynomial = sum(
            np.linalg.matrix_power(matrix, j)
            * math.factorial(start)
            / math.factorial(start + j)
            for j in range(terms - start + 1)
        )
        outputs = apply_exponential(
            operator, kernel, ops.convert_to_tensor(x), terms, start
        )
        self.assertAllClose(outputs, x @ polynomial.T, 1e-5, 1e-5)
