import dataclasses
import math

import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.linalg import apply_exponential
from keras_lip.linalg import apply_exponential_fast
from keras_lip.linalg import skew_kernel
from keras_lip.operators import ConvolutionOperator
from keras_lip.operators import DenseOperator
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class SkewKernelTest(LipschitzTestCase):
    @parameterized.product(
        padding_mode=("circular", "zeros"), window=((3, 3), (1, 5), (5, 3))
    )
    def test_matrix_is_skew_symmetric(self, padding_mode, window):
        kernel = skew_kernel(ops.convert_to_tensor(self.normal(*window, 2, 2)))
        operator = ConvolutionOperator(padding_mode=padding_mode)
        matrix = to_numpy(operator.as_matrix(kernel, (5, 6, 2)))
        self.assertAllClose(matrix, -matrix.T, atol=0, rtol=0)
        self.assertGreater(abs(matrix).max(), 1)

    def test_skew_symmetric_kernels_are_doubled(self):
        kernel = skew_kernel(ops.convert_to_tensor(self.normal(3, 3, 2, 2)))
        self.assertAllClose(skew_kernel(kernel), 2 * to_numpy(kernel), 0, 0)


IMAGE = (4, 5, 8)
TERMS = 6


@dataclasses.dataclass(frozen=True)
class CountingOperator(ConvolutionOperator):
    calls: list = dataclasses.field(default_factory=list, hash=False)

    def matvec(self, kernel, inputs):
        self.calls.append(None)
        return super().matvec(kernel, inputs)


class FastExponentialTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.free_kernel = self.normal(3, 3, 8, 8)
        kernel = self.skew(self.free_kernel)
        norm = self.singular_values(self.matrix(kernel, "circular")).max()
        self.free_kernel /= norm
        self.kernel = self.skew(self.free_kernel)
        self.x = self.normal(4, *IMAGE)
        self.upstream = self.normal(4, *IMAGE)

    def skew(self, kernel):
        return to_numpy(skew_kernel(ops.convert_to_tensor(kernel)))

    def matrix(self, kernel, padding_mode):
        operator = ConvolutionOperator(padding_mode=padding_mode)
        matrix = operator.as_matrix(ops.convert_to_tensor(kernel), IMAGE)
        return to_numpy(matrix).astype("float64")

    def polynomial(self, matrix, start=0):
        return sum(
            np.linalg.matrix_power(matrix, j) / math.factorial(start + j)
            for j in range(TERMS - start + 1)
        )

    def apply(self, polynomial, images):
        flat = images.reshape(len(images), -1).astype("float64")
        return (flat @ polynomial.T).reshape(images.shape)

    def gradient(self, exponentiate, kernel, operator, skew=False):
        upstream = ops.convert_to_tensor(self.upstream)
        x = ops.convert_to_tensor(self.x)

        def loss(kernel):
            kernel = skew_kernel(kernel) if skew else kernel
            outputs = exponentiate(operator, kernel, x, TERMS)
            return ops.sum(upstream * outputs)

        return to_numpy(gradient(loss, ops.convert_to_tensor(kernel)))

    @parameterized.parameters("circular", "zeros")
    def test_outputs_and_gradient_of_inputs_are_exact(self, padding_mode):
        operator = ConvolutionOperator(padding_mode=padding_mode)
        kernel = ops.convert_to_tensor(self.kernel)
        upstream = ops.convert_to_tensor(self.upstream)

        def exponentiate(x):
            return apply_exponential_fast(operator, kernel, x, TERMS)

        polynomial = self.polynomial(self.matrix(self.kernel, padding_mode))
        x = ops.convert_to_tensor(self.x)
        expected = self.apply(polynomial, self.x)
        self.assertAllClose(exponentiate(x), expected, 1e-5)
        actual = gradient(lambda x: upstream * exponentiate(x), x)
        expected = self.apply(polynomial.T, self.upstream)
        self.assertAllClose(actual, expected, 1e-5)

    @parameterized.parameters("circular", "zeros")
    def test_gradient_of_kernel_is_that_of_the_paper(self, padding_mode):
        # Equation (5): `v u^T`, summed over the pairs of pixels of each tap.
        matrix = self.matrix(self.kernel, padding_mode)
        u = self.apply(self.polynomial(matrix, 1), self.x)
        v = self.apply(self.polynomial(-matrix, 1), self.upstream)
        mode = "wrap" if padding_mode == "circular" else "constant"
        u = np.pad(u, [(0, 0), (1, 1), (1, 1), (0, 0)], mode)
        expected = np.empty_like(self.kernel, "float64")
        for i, j in np.ndindex(3, 3):
            pixels = u[:, i : i + IMAGE[0], j : j + IMAGE[1]]
            expected[i, j] = np.einsum("bhwc,bhwd->cd", pixels, v)
        operator = ConvolutionOperator(padding_mode=padding_mode)
        actual = self.gradient(apply_exponential_fast, self.kernel, operator)
        scale = np.abs(expected).max()
        self.assertAllClose(actual / scale, expected / scale, 1e-5)

    @parameterized.parameters("circular", "zeros")
    def test_gradient_of_kernel_is_close_to_the_exact_one(self, padding_mode):
        operator = ConvolutionOperator(padding_mode=padding_mode)
        fast, exact = (
            self.gradient(function, self.free_kernel, operator, True).ravel()
            for function in (apply_exponential_fast, apply_exponential)
        )
        cosine = fast @ exact / np.linalg.norm(fast) / np.linalg.norm(exact)
        self.assertGreater(cosine, 0.999)
        self.assertLess(cosine, 0.999999)

    def test_takes_one_application_a_term_each_way(self):
        operator = CountingOperator()
        kernel = ops.convert_to_tensor(self.kernel)
        x = ops.convert_to_tensor(self.x)
        apply_exponential_fast(operator, kernel, x, TERMS)
        self.assertLen(operator.calls, TERMS)
        operator.calls.clear()
        self.gradient(apply_exponential_fast, self.kernel, operator)
        self.assertLen(operator.calls, 2 * TERMS)


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
