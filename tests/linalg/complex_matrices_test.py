import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.linalg import complex_cayley
from keras_lip.linalg import generator_factor
from keras_lip.parametrizations import Cayley
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

SHAPES = ((4, 4), (6, 4), (4, 6))


class GeneratorFactorTest(LipschitzTestCase):
    def test_matrices_within_the_limit_stay_as_they_are(self):
        matrix = np.array([[[0.0, 1024.0], [-1024.0, 0.0]]], "float32")
        self.assertAllClose(generator_factor(matrix), [[[1.0]]], 0, 0)
        self.assertAllClose(generator_factor(0 * matrix), [[[1.0]]], 0, 0)
        half = ops.convert_to_tensor(matrix / 2)
        self.assertAllClose(generator_factor(half, most=1.5), [[[1.5]]])

    def test_largest_row_is_brought_to_the_limit(self):
        # Rows of sums 2048 and 4096, with the imaginary part.
        real = np.array([[1024.0, -512.0], [0.0, 96.0]], "float32")
        imaginary = np.array([[0.0, 512.0], [-4000.0, 0.0]], "float32")
        factor = generator_factor(real, imaginary)
        self.assertAllClose(factor, [[0.25]], 0, 0)

    @parameterized.parameters(1.0, 1e25)
    def test_factor_is_at_most_what_it_may_be(self, most):
        matrix = np.full((2, 2), 2.0, "float32")
        factor = generator_factor(matrix, most=most)
        self.assertAllClose(factor, [[min(most, 256.0)]])


class ComplexCayleyTest(LipschitzTestCase):
    def transform(self, matrix):
        real, imaginary = complex_cayley(
            *(
                ops.convert_to_tensor(part.astype("float32"))
                for part in (matrix.real, matrix.imag)
            )
        )
        return to_numpy(real) + 1j * to_numpy(imaginary)

    def complex_normal(self, *shape, scale=1.0):
        parts = self.normal(2, *shape, scale=scale)
        return parts[0] + 1j * parts[1]

    @parameterized.product(shape=SHAPES, scale=(0.02, 1.0))
    def test_image_is_that_of_the_paper(self, shape, scale):
        matrix = self.complex_normal(3, *shape, scale=scale)
        wide = shape[0] < shape[1]
        tall = np.swapaxes(matrix.conj(), 1, 2) if wide else matrix
        tall = tall.astype("complex128")
        columns = tall.shape[-1]
        head, tail = tall[:, :columns], tall[:, columns:]
        square = np.swapaxes(tail.conj(), 1, 2) @ tail
        generator = head - np.swapaxes(head.conj(), 1, 2) + square
        identity = np.eye(columns)
        inverse = np.linalg.inv(identity + generator)
        expected = np.concatenate(
            [(identity - generator) @ inverse, -2 * tail @ inverse], axis=1
        )
        if wide:
            expected = np.swapaxes(expected.conj(), 1, 2)
        self.assertAllClose(self.transform(matrix), expected, 1e-5)

    @parameterized.product(shape=SHAPES, scale=(0.0, 0.02, 1.0, 20.0))
    def test_image_is_unitary_at_any_scale(self, shape, scale):
        image = self.transform(self.complex_normal(3, *shape, scale=scale))
        values = np.linalg.svd(image.astype("complex128"), compute_uv=False)
        # The error grows with the norm of the generator, which is its square.
        tolerance = 1e-6 if scale <= 1 else 1e-5
        self.assertAllClose(values, np.ones_like(values), tolerance)

    @parameterized.product(shape=SHAPES, scale=(1e6, 1e18, 1e30))
    def test_image_of_huge_matrices_is_unitary(self, shape, scale):
        image = self.transform(self.complex_normal(3, *shape, scale=scale))
        values = np.linalg.svd(image.astype("complex128"), compute_uv=False)
        self.assertAllClose(values, np.ones_like(values), 1e-4)

    @parameterized.parameters(*SHAPES)
    def test_real_matrices_are_mapped_as_by_the_parametrization(self, *shape):
        matrix = self.normal(*shape)
        expected, _ = Cayley()(matrix)
        self.assertAllClose(self.transform(matrix + 0j), expected, 1e-5)

    def test_gradient_is_finite_at_zero(self):
        target = ops.convert_to_tensor(self.normal(2, 4, 3))

        def loss(real):
            image, _ = complex_cayley(real, ops.zeros_like(real))
            return ops.sum(image * target)

        slope = to_numpy(gradient(loss, ops.zeros((2, 4, 3))))
        self.assertTrue(np.isfinite(slope).all())
        self.assertGreater(np.abs(slope).max(), 0)
