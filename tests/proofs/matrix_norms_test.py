import importlib
import math
from fractions import Fraction
from unittest import mock

import mpmath
import numpy as np
from absl.testing import parameterized

from keras_lip.proofs.matrix_norms import are_bounded
from keras_lip.proofs.matrix_norms import largest_eigenvalue_bound
from keras_lip.proofs.matrix_norms import smallest_singular_value_bound
from keras_lip.proofs.matrix_norms import spectral_norm_bound

# The bound exceeds the norm by about `rows * columns * 1e-16`, 4e-13 here.
SLACK = 1e-12


def exact_norm(matrix):
    with mpmath.workdps(50):
        svd = mpmath.svd_c if np.iscomplexobj(matrix) else mpmath.svd_r
        values = svd(mpmath.matrix(matrix.tolist()), compute_uv=False)
        return max(values)


def orthogonal(rng, rows, columns):
    return np.linalg.qr(rng.standard_normal((rows, columns)))[0]


class SpectralNormBoundTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.rng = np.random.default_rng(0)

    def assert_tight(self, matrix, exact):
        bound = spectral_norm_bound(matrix)
        with mpmath.workdps(50):
            self.assertGreaterEqual(mpmath.mpf(bound), exact)
            self.assertLess(mpmath.mpf(bound), exact * (1 + SLACK))

    def unit_scale_matrix(self):
        # Left as it is by the scaling, so that its eigenvalues can be faked.
        matrix = self.rng.uniform(-1, 1, (6, 6))
        matrix[0, 0] = 1.5
        return matrix

    @parameterized.product(
        shape=[(1, 1), (6, 6), (9, 4), (3, 8), (1, 7)],
        kind=["gaussian", "complex", "orthogonal", "graded", "rank one"],
    )
    def test_bound_is_above_the_exact_norm_and_tight(self, shape, kind):
        matrix = self.rng.standard_normal(shape)
        if kind == "complex":
            matrix = matrix + 1j * self.rng.standard_normal(shape)
        if kind == "orthogonal":
            matrix = orthogonal(self.rng, max(shape), min(shape))
            matrix = matrix.reshape(shape)
        if kind == "graded":
            matrix *= np.logspace(0, -200, shape[1])
        if kind == "rank one":
            matrix = np.outer(matrix[:, 0], matrix[0])
        self.assert_tight(matrix, exact_norm(matrix))

    @parameterized.parameters(5e-324, 2.0**-1060, 1e-160, 1.0, 1e160, 2.0**1019)
    def test_bound_holds_at_any_scale(self, scale):
        matrix = np.full((3, 3), scale)
        bound = spectral_norm_bound(matrix)
        exact = 3 * Fraction(scale)
        self.assertGreaterEqual(Fraction(bound), exact)
        # Two steps of the grid of subnormal numbers, where it is coarse.
        excess = max(Fraction(2.0**-1073), exact * Fraction(SLACK))
        self.assertLessEqual(Fraction(bound), exact + excess)

    def test_a_norm_beyond_the_largest_float_is_infinite(self):
        self.assertEqual(spectral_norm_bound(np.full((4, 4), 1e308)), math.inf)

    def test_entries_of_extreme_range_are_bounded(self):
        self.assert_tight(np.diag([1e300, 1e-300, 5e-324]), 1e300)
        self.assert_tight(np.diag([1e-300, 5e-324]), 1e-300)

    @parameterized.parameters(8, 64)
    def test_known_norms(self, size):
        hadamard = np.array([[1.0]])
        while len(hadamard) < size:
            hadamard = np.kron(hadamard, [[1.0, 1.0], [1.0, -1.0]])
        self.assert_tight(hadamard, mpmath.sqrt(size))
        self.assert_tight(np.eye(size), 1)
        self.assert_tight(np.ones((size, 4)), 2 * mpmath.sqrt(size))
        self.assert_tight(np.diag(np.arange(size) - 3.0), size - 4)
        duplicate_rows = np.repeat(np.eye(4), size, axis=0)
        self.assert_tight(duplicate_rows, mpmath.sqrt(size))

    def test_single_precision_and_integers_are_converted_exactly(self):
        matrix = np.array([[0.1, 0.2]], dtype=np.float32)
        self.assert_tight(matrix, exact_norm(matrix.astype(np.float64)))
        self.assert_tight([[3, 0], [4, 0]], 5)

    def test_bound_of_a_batch_is_that_of_its_largest(self):
        matrices = self.rng.standard_normal((2, 3, 5, 4))
        matrices[1, 0] *= 10
        self.assert_tight(matrices, exact_norm(matrices[1, 0]))

    @parameterized.parameters(np.nan, np.inf, -np.inf, 1j * np.nan)
    def test_unknown_entries_have_no_bound(self, entry):
        matrix = np.array([[1.0, entry], [0.0, 0.0]])
        self.assertEqual(spectral_norm_bound(matrix), math.inf)

    @parameterized.parameters([(0, 3)], [(3, 0)], [(0, 2, 2)], [(3, 2)])
    def test_empty_and_zero_matrices_have_norm_zero(self, shape):
        self.assertEqual(spectral_norm_bound(np.zeros(shape)), 0.0)

    def test_a_vector_is_refused(self):
        with self.assertRaisesRegex(ValueError, r"two dimensions.*\(3,\)"):
            spectral_norm_bound(np.zeros(3))

    @parameterized.parameters([(50, 3)], [(3, 50)])
    def test_only_the_smaller_side_is_decomposed(self, shape):
        with mock.patch.object(
            np.linalg, "cholesky", wraps=np.linalg.cholesky
        ) as cholesky:
            spectral_norm_bound(self.rng.standard_normal(shape))
        self.assertEqual(cholesky.call_args.args[0].shape, (3, 3))

    @parameterized.parameters(-1.0, 0.0, 0.3, 0.999, 1e3, math.nan, math.inf)
    def test_wrong_eigenvalues_cost_tightness_only(self, factor):
        matrix = self.unit_scale_matrix()
        exact = float(exact_norm(matrix))
        values = np.full(6, factor * exact**2)
        with mock.patch.object(np.linalg, "eigvalsh", return_value=values):
            bound = spectral_norm_bound(matrix)
        self.assertBetween(bound, exact, np.linalg.norm(matrix) * (1 + SLACK))

    @parameterized.parameters(0.0, 0.1, 0.9, 1.1, 1e200, math.nan)
    def test_a_wrong_factor_costs_tightness_only(self, scale):
        matrix = self.unit_scale_matrix()
        exact = float(exact_norm(matrix))
        values = np.full(6, 0.5 * exact**2)

        def cholesky(gram):
            return scale * np.tril(gram)

        with (
            mock.patch.object(np.linalg, "eigvalsh", return_value=values),
            mock.patch.object(np.linalg, "cholesky", cholesky),
        ):
            bound = spectral_norm_bound(matrix)
        self.assertBetween(bound, exact, np.linalg.norm(matrix) * (1 + SLACK))

    def test_a_failure_of_lapack_leaves_the_frobenius_norm(self):
        matrix = self.rng.standard_normal((6, 6))
        error = np.linalg.LinAlgError("did not converge")
        with mock.patch.object(np.linalg, "eigvalsh", side_effect=error):
            bound = spectral_norm_bound(matrix)
        norm = np.linalg.norm(matrix)
        self.assertBetween(bound, norm, norm * (1 + SLACK))

    def test_rounding_errors_of_the_gram_matrix_are_covered(self):
        # Seven squares are lost in any order of summation.
        matrix = np.array([[1.0] + [2.0**-28] * 7]).T
        exact = 1 + 7 * Fraction(1, 2**56)
        self.assertEqual((matrix.T @ matrix).item(), 1.0)
        # `import_module`, as the package may export the function by this name.
        module = importlib.import_module(spectral_norm_bound.__module__)
        with (
            mock.patch.object(
                module, "largest_eigenvalue_bound", return_value=1.0
            ),
            mock.patch.object(module, "frobenius_norm_up", return_value=1.1),
        ):
            bound = spectral_norm_bound(matrix)
        self.assertGreaterEqual(Fraction(bound) ** 2, exact)


class LargestEigenvalueBoundTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        factor = np.random.default_rng(0).standard_normal((3, 8, 5))
        self.grams = np.swapaxes(factor, -2, -1) @ factor
        self.exact = float(np.max(np.linalg.eigvalsh(self.grams)))

    @parameterized.parameters(0.0, 0.5, 1 + 1e-9)
    def test_a_low_or_good_guess_costs_no_tightness(self, ratio):
        bound = largest_eigenvalue_bound(self.grams, guess=ratio * self.exact)
        self.assertBetween(bound, self.exact, self.exact * (1 + 2e-9))

    def test_a_good_guess_saves_the_eigenvalues(self):
        with mock.patch.object(np.linalg, "eigvalsh") as eigvalsh:
            largest_eigenvalue_bound(self.grams, guess=1.01 * self.exact)
        eigvalsh.assert_not_called()

    @parameterized.parameters((float, 20), (complex, 4 * 16 + 32))
    def test_all_the_roundings_are_in_the_bound(self, dtype, roundings):
        # The factor is exact, twice the identity. What may have been lost is
        # `gamma(roundings)` times the trace, and `u` times its largest entry.
        bound = largest_eigenvalue_bound(np.eye(16, dtype=dtype), guess=5.0)
        errors = 2.0**-53 * (roundings * 16 * 4 + 4)
        self.assertBetween(bound - 5.0, errors, 1.02 * errors)

    def test_the_largest_trace_of_a_batch_is_in_the_bound(self):
        small, large = np.eye(16), 4.9 * np.eye(16)
        alone = largest_eigenvalue_bound(small, guess=5.0)
        for batch in ([small, large], [large, small]):
            bound = largest_eigenvalue_bound(np.stack(batch), guess=5.0)
            self.assertEqual(bound, alone)

    def test_errors_of_the_factor_are_relative_to_what_is_factored(self):
        module = importlib.import_module(largest_eigenvalue_bound.__module__)
        error = Fraction(2**40 + 4, 2**53)
        error = error / (1 - error)
        bound = module._factorization_error(2**40, False)
        self.assertGreaterEqual(bound, error / (1 - error))

    def test_the_rounding_of_the_shift_is_in_the_bound(self):
        # `gamma(5)` times four, and `u` times four, are more than `24 u`, and
        # floats that are larger than four are multiples of `8 u`.
        bound = largest_eigenvalue_bound(np.ones((1, 1)), guess=5.0)
        self.assertGreater(bound - 5.0, 24 * 2.0**-53)

    @parameterized.product(
        size=[256, 300],
        kind=["gaussian", "complex", "flat", "nearly flat", "rank one"],
    )
    def test_eigenvalues_of_large_matrices_are_only_estimated(self, size, kind):
        rng = np.random.default_rng(0)
        matrix = rng.standard_normal((size, size))
        if kind == "complex":
            matrix = matrix + 1j * rng.standard_normal((size, size))
        if "flat" in kind:
            matrix = np.linalg.qr(matrix)[0]
            if kind == "nearly flat":
                matrix = matrix.astype(np.float32).astype(np.float64)
        if kind == "rank one":
            matrix = np.outer(matrix[0], matrix[1])
        gram = matrix.conj().T @ matrix
        gram /= gram[0, 0].real
        exact = np.linalg.eigvalsh(gram)[-1]
        with mock.patch.object(np.linalg, "eigvalsh") as eigvalsh:
            bound = largest_eigenvalue_bound(gram)
        eigvalsh.assert_not_called()
        self.assertBetween(bound, exact * (1 - 1e-14), exact * (1 + 1e-8))

    @parameterized.parameters(-1.0, 0.0, 0.3, 0.999, 0.999999, math.nan)
    def test_a_wrong_estimate_is_made_up_for(self, factor):
        module = importlib.import_module(largest_eigenvalue_bound.__module__)
        pair = module.leading_pair
        matrix = np.random.default_rng(0).standard_normal((400, 256))
        gram = matrix.T @ matrix / 400
        exact = np.linalg.eigvalsh(gram)[-1]

        def estimate(*args, **kwargs):
            value, vector = pair(*args, **kwargs)
            return factor * value, vector

        with mock.patch.object(module, "leading_pair", estimate):
            bound = largest_eigenvalue_bound(gram)
        self.assertBetween(bound, exact * (1 - 1e-14), exact * (1 + 1e-9))

    @parameterized.parameters(float, complex)
    def test_the_lower_triangle_is_meant(self, dtype):
        # Products of matrices are Hermitian up to rounding alone, by more than
        # what is left of a nearly flat spectrum that is shifted.
        rng = np.random.default_rng(0)
        gram = np.eye(8, dtype=dtype)
        gram += 1e-15 * np.triu(rng.standard_normal((8, 8)), 1)
        if dtype is complex:
            gram += 1e-15j * np.diag(rng.standard_normal(8))
        bound = largest_eigenvalue_bound(gram)
        self.assertBetween(bound, 1.0, 1 + 1e-12)

    def test_unknown_entries_have_no_bound(self):
        for place in [(0, 0), (4, 2), (5, 5)]:
            gram = np.eye(6)
            gram[place] = np.nan
            self.assertEqual(largest_eigenvalue_bound(gram, 2.0), math.inf)

    def test_a_library_that_factors_nothing_proves_nothing(self):
        def cholesky(gram):
            return np.eye(len(gram))

        with mock.patch.object(np.linalg, "cholesky", cholesky):
            self.assertEqual(largest_eigenvalue_bound(4 * np.eye(6)), math.inf)

    def test_a_library_that_repairs_matrices_proves_nothing(self):
        # As modified factorizations do, that never fail.
        def cholesky(gram):
            values, vectors = np.linalg.eigh(gram)
            root = vectors * np.sqrt(np.abs(values))
            return np.linalg.qr(root.T)[1].T * np.sign(values[-1])

        gram = np.diag([5.0, 1.0, 2.0])
        with mock.patch.object(np.linalg, "cholesky", cholesky):
            # A guess that is exceeded is not taken for a bound.
            self.assertGreaterEqual(largest_eigenvalue_bound(gram, 4.0), 5.0)


class AreBoundedTest(parameterized.TestCase):
    @parameterized.product(size=[1, 5, 16, 40], is_complex=[False, True])
    def test_true_bounds_are_proven_and_false_ones_are_not(
        self, size, is_complex
    ):
        rng = np.random.default_rng(0)
        factor = rng.standard_normal((3, 4, size, size))
        if is_complex:
            factor = factor + 1j * rng.standard_normal(factor.shape)
        grams = np.swapaxes(factor, -2, -1).conj() @ factor / size
        largest = np.linalg.eigvalsh(grams)[..., -1]
        # Each is a bound of those that are smaller, and never of its own.
        for value in largest.ravel():
            for bound in (value * (1 - 1e-13), value * (1 + 1e-10)):
                np.testing.assert_array_equal(
                    are_bounded(grams, bound), largest <= bound
                )

    def test_a_bound_is_not_proven_of_itself(self):
        # The errors of the proof are not to be swept under the bound.
        self.assertFalse(are_bounded(np.eye(32)[None], 1.0).any())
        self.assertTrue(are_bounded(np.eye(32)[None], 1 + 1e-12).all())

    @parameterized.parameters(12, 40)
    def test_a_factorization_proves_no_more_than_its_errors(self, size):
        # It runs to completion, but its errors are those of a large trace.
        gram = np.zeros((1, size, size))
        gram[0, 0, 0] = 1.0
        self.assertFalse(are_bounded(gram, 1 + 100 * 2.0**-53).any())
        self.assertTrue(are_bounded(gram, 1 + 1e-11).all())

    @parameterized.parameters(0.0, -1.0, math.nan, math.inf)
    def test_numbers_that_bound_nothing(self, bound):
        self.assertFalse(are_bounded(np.eye(3)[None], bound).any())

    @parameterized.parameters(4, 20)
    def test_unknown_entries_have_no_bound(self, size):
        grams = np.stack([np.eye(size)] * 3)
        grams[1, 2, 1] = np.nan
        np.testing.assert_array_equal(
            are_bounded(grams, 2.0), [True, False, True]
        )


class SmallestSingularValueBoundTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.rng = np.random.default_rng(0)

    def exact(self, matrix):
        with mpmath.workdps(50):
            matrix = mpmath.matrix(matrix.tolist())
            return min(mpmath.svd_r(matrix, compute_uv=False))

    @parameterized.product(
        shape=[(1, 1), (6, 6), (9, 4), (7, 1)],
        scale=[2.0**-1000, 1e-20, 1.0, 3.0, 1e20],
    )
    def test_bound_is_below_the_exact_value_and_tight(self, shape, scale):
        for matrix in (
            self.rng.standard_normal(shape),
            orthogonal(self.rng, *shape),
            orthogonal(self.rng, *shape).astype("float32").astype("float64"),
            np.eye(*shape),
        ):
            matrix = matrix * scale
            exact = self.exact(matrix)
            bound = smallest_singular_value_bound(matrix)
            with mpmath.workdps(50):
                self.assertLessEqual(mpmath.mpf(bound), exact)
                # Its square has the absolute error of the largest one.
                largest = exact_norm(matrix)
                slack = 1e-13 * largest * largest / exact
                self.assertGreater(mpmath.mpf(bound), exact - slack)

    def test_a_null_space_has_zero(self):
        matrix = np.outer([1.0, 2.0, 3.0], [0.1, 0.7])
        self.assertLess(smallest_singular_value_bound(matrix), 1e-7)
        for matrix in (
            np.zeros((3, 3)),
            np.ones((2, 3)),
            np.ones((2, 0)),
            np.full((2, 2), math.nan),
            np.diag([1.0, math.inf]),
        ):
            self.assertEqual(smallest_singular_value_bound(matrix), 0.0)

    def test_a_wrong_eigenvalue_only_loosens_the_bound(self):
        matrix = self.rng.standard_normal((6, 4))
        exact = self.exact(matrix)
        compute = np.linalg.eigvalsh
        for factor in (0.5, 3.0):
            with mock.patch.object(
                np.linalg, "eigvalsh", lambda *a, f=factor: compute(*a) * f
            ):
                bound = smallest_singular_value_bound(matrix)
            with mpmath.workdps(50):
                self.assertLessEqual(mpmath.mpf(bound), exact)
