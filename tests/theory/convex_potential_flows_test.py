"""Meunier et al., 2022, https://arxiv.org/abs/2110.12690."""

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.bounds import lipschitz_bound
from keras_lip.models import LipschitzSequential
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def factor_contraction(matrix):
    """Returns linear convex potential layers whose product is a contraction.

    The polar decomposition `A = U P` has an orthogonal `U`, a product of
    reflections `I - 2 v v^T`, and `P` with eigenvalues from zero to one, which
    is `I - S` with eigenvalues of `S` from zero to one.

    Returns:
        List of pairs of a kernel `W` and a step `h`, with `h |W|^2` at most
        two. The matrix is the product of all `I - h W W^T`.
    """
    left, values, right = np.linalg.svd(matrix)
    orthogonal, dim = left @ right, len(matrix)
    factors = []
    for index in range(dim):
        # A reflection that makes a column of what remains a unit vector.
        vector = orthogonal[:, index] - np.eye(dim)[index]
        length = np.linalg.norm(vector)
        if length > 1e-12:
            vector = (vector / length)[:, np.newaxis]
            orthogonal = orthogonal - 2 * vector @ (vector.T @ orthogonal)
            factors.append((vector, 2.0))
    root = right.T * np.sqrt(np.maximum(1 - values, 0))
    return [*factors, (root, 1.0)]


class ConvexPotentialFlowsTest(LipschitzTestCase):
    """Appendix B says that layers of linear potentials do not suffice.

    It says that some linear contractions are not, and are not close to, a
    product of symmetric contractions. This is false: `dim + 1` layers suffice.
    """

    @parameterized.parameters(
        ("random", 4), ("rotation", 4), ("rotation", 3), ("singular", 4)
    )
    def test_linear_potentials_compose_every_linear_contraction(
        self, kind, dim
    ):
        matrix = self.rng.normal(size=(dim, dim))
        left, values, right = np.linalg.svd(matrix)
        values = {
            "random": values / values[0],
            "rotation": np.ones(dim),
            "singular": np.array([1.0, 0.5, 0.0, 0.0])[:dim],
        }[kind]
        matrix = (left * values) @ right
        factors = factor_contraction(matrix)
        self.assertLessEqual(len(factors), dim + 1)

        blocks = []
        for kernel, step in factors:
            self.assertLessEqual(step * np.linalg.norm(kernel, 2) ** 2, 2.001)
            block = layers.ConvexPotentialDense(
                kernel.shape[1],
                activation="linear",
                step=step,
                kernel_initializer=keras.initializers.Constant(kernel),
            )
            blocks.append(block)
        # Row vectors are multiplied from the right.
        model = LipschitzSequential([keras.Input((dim,)), *reversed(blocks)])
        self.assertAllClose(model(np.eye(dim)), matrix.T, 2e-6)
        self.assertLessEqual(lipschitz_bound(model), 1 + 1e-5)

    def test_a_contraction_need_not_be_symmetric(self):
        # A rotation by ninety degrees is a product of two reflections.
        matrix = np.array([[0.0, -1.0], [1.0, 0.0]])
        product = np.eye(2)
        for kernel, step in factor_contraction(matrix):
            product = product @ (np.eye(2) - step * kernel @ kernel.T)
        self.assertAllClose(product, matrix, 1e-12)

    def test_hundred_iterations_prove_nothing(self):
        # Section 4.2: the estimate of a norm is at most the norm, and the step
        # is too long.
        kernel = np.diag([1.0, 0.99])
        vector = np.array([1e-3, 1.0])
        for _ in range(100):
            vector = kernel.T @ (kernel @ vector)
            vector /= np.linalg.norm(vector)
        estimate = np.linalg.norm(kernel @ vector)
        self.assertAlmostEqual(estimate, 0.99, delta=1e-5)
        block = layers.ConvexPotentialDense(
            2,
            step=2 / estimate**2,
            kernel_initializer=keras.initializers.Constant(kernel),
        )
        model = LipschitzSequential([keras.Input((2,)), block])
        stretched = model(np.array([[2.0, 0.0], [1.0, 0.0]]))
        distance = float(np.ptp(to_numpy(stretched)[:, 0]))
        self.assertGreater(distance, 1.04)
        self.assertBetween(lipschitz_bound(model), distance - 1e-6, 1.041)
