import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.linalg import accretive_solve
from keras_lip.linalg import transpose
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class TransposeTest(LipschitzTestCase):
    def test_last_two_axes_are_swapped(self):
        for shape in (2, 3), (4, 2, 3), (5, 4, 2, 3):
            matrix = self.normal(*shape)
            actual = transpose(ops.convert_to_tensor(matrix))
            self.assertAllClose(actual, np.swapaxes(matrix, -2, -1), 0, 0)


class AccretiveSolveTest(LipschitzTestCase):
    def make_matrix(self, size, scale):
        skew = self.normal(size, size, scale=scale / size**0.5)
        tail = self.normal(size // 3, size, scale=scale**0.5 / size**0.5)
        return np.eye(size, dtype="float32") + skew - skew.T + tail.T @ tail

    @parameterized.product(size=(5, 65, 200), scale=(0.02, 1.0, 20.0))
    def test_solution_is_that_of_the_system(self, size, scale):
        # Sides above 64 are eliminated by blocks; the norm is near 3 * scale.
        matrix, right = self.make_matrix(size, scale), self.normal(3, size)
        exact = np.linalg.solve(
            matrix.astype("float64").T, right.astype("float64").T
        ).T
        solution = accretive_solve(
            ops.convert_to_tensor(right), ops.convert_to_tensor(matrix)
        )
        self.assertAllClose(solution, exact, 2e-5)

    @parameterized.parameters(5, 100)
    def test_gradients_are_those_of_the_solution(self, size):
        matrix, right = self.make_matrix(size, 1.0), self.normal(3, size)
        weight = self.normal(3, size)
        inverse = np.linalg.inv(matrix.astype("float64"))
        adjoint = weight @ inverse.T

        def by_right(right):
            solution = accretive_solve(right, ops.convert_to_tensor(matrix))
            return ops.sum(ops.multiply(solution, weight))

        def by_matrix(matrix):
            solution = accretive_solve(ops.convert_to_tensor(right), matrix)
            return ops.sum(ops.multiply(solution, weight))

        actual = gradient(by_right, ops.convert_to_tensor(right))
        self.assertAllClose(actual, adjoint, 1e-5)
        actual = gradient(by_matrix, ops.convert_to_tensor(matrix))
        exact = -(right @ inverse).T @ adjoint
        self.assertAllClose(actual, exact, 1e-5)
        self.assertGreater(np.abs(to_numpy(actual)).max(), 0.1)
