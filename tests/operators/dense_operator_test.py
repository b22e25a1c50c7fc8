import numpy as np
from absl.testing import parameterized
from keras import layers
from keras import ops

from keras_lip.operators import DenseOperator
from keras_lip.operators import LinearOperator
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class DenseOperatorTest(LipschitzTestCase):
    @parameterized.named_parameters(
        ("tall", 6, 2), ("wide", 2, 6), ("square", 4, 4)
    )
    def test_adjoint_keeps_its_identity(self, rows, columns):
        operator = DenseOperator()
        kernel = ops.convert_to_tensor(self.normal(rows, columns))
        x, y = self.normal(5, rows), self.normal(5, columns)
        image = to_numpy(operator.matvec(kernel, ops.convert_to_tensor(x)))
        back = to_numpy(operator.adjoint(kernel, ops.convert_to_tensor(y)))
        self.assertEqual((image.shape, back.shape), (y.shape, x.shape))
        self.assertAllClose(
            np.sum(image * y, axis=1), np.sum(x * back, axis=1), 1e-5, 1e-5
        )

    @parameterized.named_parameters(
        ("tall", 6, 2), ("wide", 2, 6), ("square", 4, 4)
    )
    def test_matrix_is_that_of_matvec(self, rows, columns):
        operator = DenseOperator()
        kernel = ops.convert_to_tensor(self.normal(rows, columns))
        matrix = to_numpy(operator.as_matrix(kernel, (rows,)))
        self.assertEqual(matrix.shape, (columns, rows))
        x = self.normal(5, rows)
        self.assertAllClose(
            operator.matvec(kernel, ops.convert_to_tensor(x)),
            x @ matrix.T,
            1e-5,
            1e-5,
        )
        y = self.normal(5, columns)
        self.assertAllClose(
            operator.adjoint(kernel, ops.convert_to_tensor(y)),
            y @ matrix,
            1e-5,
            1e-5,
        )

    def test_matvec_is_a_dense_layer(self):
        layer = layers.Dense(3, use_bias=False)
        x = ops.convert_to_tensor(self.normal(5, 4))
        expected = layer(x)
        kernel = ops.convert_to_tensor(layer.kernel)
        self.assertAllClose(DenseOperator().matvec(kernel, x), expected)

    def test_operators_of_the_same_arguments_are_equal(self):
        # The power method compiles a loop once for each operator.
        self.assertIsInstance(DenseOperator(), LinearOperator)
        self.assertEqual(DenseOperator(), DenseOperator())
        self.assertEqual(hash(DenseOperator()), hash(DenseOperator()))
