import math
from fractions import Fraction

import numpy as np
from absl.testing import parameterized

from keras_lip.proofs import rounding

LARGEST = float(np.finfo(np.float64).max)
SMALLEST = 2.0**-1074


class RoundingTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.rng = np.random.default_rng(0)

    def random_floats(self, count, exponent=40):
        exponents = self.rng.integers(-exponent, exponent, count)
        return np.ldexp(self.rng.standard_normal(count), exponents).tolist()

    def assert_smallest_above(self, rounded, exact):
        self.assertGreaterEqual(Fraction(rounded), exact)
        self.assertLess(Fraction(rounding.down(rounded)), exact)

    def test_up_and_down_move_to_the_next_float(self):
        self.assertEqual(rounding.up(1.0), 1.0 + 2.0**-52)
        self.assertEqual(rounding.down(1.0), 1.0 - 2.0**-53)
        self.assertEqual(rounding.up(0.0), SMALLEST)
        self.assertEqual(rounding.up(LARGEST), math.inf)
        self.assertEqual(rounding.up(math.nan), math.inf)
        self.assertEqual(rounding.down(math.nan), -math.inf)

    def test_results_are_the_smallest_floats_above_the_exact_ones(self):
        for _ in range(200):
            a, b, c = self.random_floats(3)
            exact_a, exact_b, exact_c = map(Fraction, (a, b, c))
            self.assert_smallest_above(
                rounding.add_up(a, b, c), exact_a + exact_b + exact_c
            )
            self.assert_smallest_above(
                rounding.multiply_up(a, b, c), exact_a * exact_b * exact_c
            )
            self.assert_smallest_above(
                rounding.divide_up(a, b), exact_a / exact_b
            )
            self.assert_smallest_above(
                -rounding.divide_down(a, b), -exact_a / exact_b
            )
            self.assert_smallest_above(
                -rounding.add_down(a, b, c), -exact_a - exact_b - exact_c
            )
            self.assert_smallest_above(
                -rounding.multiply_down(a, b, c), -exact_a * exact_b * exact_c
            )

    def test_roots_are_above_the_exact_ones_and_close(self):
        for _ in range(200):
            terms = self.random_floats(4, exponent=3)
            square = sum(Fraction(term) ** 2 for term in terms)
            norm = rounding.hypot_up(*terms)
            self.assertGreaterEqual(Fraction(norm) ** 2, square)
            self.assertLess(norm, math.hypot(*terms) * (1 + 1e-15))
            root = rounding.sqrt_up(abs(terms[0]))
            self.assertGreaterEqual(Fraction(root) ** 2, abs(terms[0]))
            self.assertLess(root, math.sqrt(abs(terms[0])) * (1 + 1e-15))
            norm = rounding.hypot_down(*terms)
            self.assertLessEqual(Fraction(norm) ** 2, square)
            self.assertGreater(norm, math.hypot(*terms) * (1 - 1e-15))
            root = rounding.sqrt_down(abs(terms[0]))
            self.assertLessEqual(Fraction(root) ** 2, abs(terms[0]))
            self.assertGreater(root, math.sqrt(abs(terms[0])) * (1 - 1e-15))

    def test_lower_bounds_of_unknown_numbers_prove_nothing(self):
        for unknown in (math.nan, math.inf, -math.inf):
            for bound in (
                rounding.add_down(1.0, unknown),
                rounding.multiply_down(0.0, unknown),
                rounding.sqrt_down(unknown),
                rounding.hypot_down(1.0, unknown),
            ):
                self.assertEqual(bound, -math.inf)
        self.assertEqual(rounding.sqrt_down(-1.0), 0.0)
        self.assertEqual(rounding.hypot_down(LARGEST, LARGEST), LARGEST)

    def test_exact_results_are_kept(self):
        self.assertEqual(rounding.add_up(1.0, 1.0, 0.5), 2.5)
        self.assertEqual(rounding.add_up(), 0.0)
        self.assertEqual(rounding.multiply_up(1.0, 1.0, 3.0), 3.0)
        self.assertEqual(rounding.divide_up(1.0, 4.0), 0.25)
        self.assertEqual(rounding.divide_down(1.0, 4.0), 0.25)
        self.assertEqual(rounding.sqrt_up(9.0), 3.0)
        self.assertEqual(rounding.hypot_up(3.0, 4.0), 5.0)
        self.assertEqual(rounding.hypot_up(), 0.0)

    def test_a_sum_of_many_terms_is_rounded_once(self):
        self.assertEqual(rounding.add_up(1e300, 1.0, -1e300), 1.0)

    def test_underflow_is_rounded_up(self):
        self.assertEqual(rounding.multiply_up(SMALLEST, 0.25), SMALLEST)
        self.assertEqual(rounding.divide_up(SMALLEST, 4.0), SMALLEST)
        self.assertEqual(rounding.divide_down(SMALLEST, 4.0), 0.0)

    def test_overflow_is_infinite_from_above_only(self):
        self.assertEqual(rounding.add_up(LARGEST, LARGEST), math.inf)
        self.assertEqual(rounding.add_up(-LARGEST, -LARGEST), -LARGEST)
        self.assertEqual(rounding.multiply_up(LARGEST, 2.0), math.inf)
        self.assertEqual(rounding.divide_up(LARGEST, 0.5), math.inf)
        self.assertEqual(rounding.divide_down(LARGEST, 0.5), LARGEST)
        self.assertEqual(rounding.hypot_up(LARGEST, LARGEST), math.inf)

    @parameterized.parameters(math.nan, math.inf, -math.inf)
    def test_what_is_not_finite_is_not_bounded(self, unknown):
        self.assertEqual(rounding.add_up(1.0, unknown, -unknown), math.inf)
        self.assertEqual(rounding.multiply_up(0.0, unknown), math.inf)
        self.assertEqual(rounding.divide_up(unknown, 1.0), math.inf)
        self.assertEqual(rounding.divide_up(1.0, unknown), math.inf)
        self.assertEqual(rounding.divide_down(unknown, 1.0), -math.inf)
        self.assertEqual(rounding.sqrt_up(abs(unknown)), math.inf)
        self.assertEqual(rounding.hypot_up(0.0, unknown), math.inf)

    def test_division_by_zero_is_not_bounded(self):
        self.assertEqual(rounding.divide_up(0.0, 0.0), math.inf)
        self.assertEqual(rounding.divide_down(1.0, 0.0), -math.inf)

    def test_a_margin_over_an_unknown_bound_is_zero(self):
        self.assertEqual(rounding.divide_down(1.0, math.inf), 0.0)
        self.assertEqual(rounding.divide_down(-1.0, math.inf), -math.inf)
        self.assertEqual(rounding.divide_down(math.nan, math.inf), -math.inf)
        self.assertEqual(rounding.divide_down(math.inf, math.inf), -math.inf)

    def test_gamma_is_rounded_up(self):
        self.assertEqual(rounding.gamma(0), 0.0)
        for n in (1, 3, 1000, 2**30 + 1, 2**53 - 1):
            self.assert_smallest_above(
                rounding.gamma(n), Fraction(n, 2**53 - n)
            )

    @parameterized.parameters(-1, 2**53)
    def test_gamma_refuses_what_it_does_not_bound(self, n):
        with self.assertRaisesRegex(ValueError, f"2\\*\\*53.*n={n}"):
            rounding.gamma(n)

    @parameterized.parameters(1, 100, 10**12)
    def test_inflation_makes_up_for_the_roundings(self, n):
        exact = Fraction(7, 3)
        gamma = Fraction(n, 2**53 - n)
        computed = float(exact * (1 - gamma))
        # Not above the worst case, so that the inflated value must be.
        while Fraction(computed) < exact * (1 - gamma):
            computed = rounding.up(computed)
        inflated = Fraction(rounding.inflate_up(computed, n))
        self.assertGreaterEqual(inflated, exact)
        self.assertLess(inflated, exact * (1 + 3 * gamma + Fraction(1, 2**50)))

    @parameterized.parameters(False, True)
    def test_frobenius_norm_is_above_the_exact_one(self, is_complex):
        matrices = self.rng.standard_normal((3, 4, 5))
        if is_complex:
            matrices = matrices + 1j * self.rng.standard_normal((3, 4, 5))
        square = max(
            sum(
                Fraction(x) ** 2
                for x in matrix.ravel().view(np.float64).tolist()
            )
            for matrix in matrices
        )
        norm = rounding.frobenius_norm_up(matrices)
        self.assertGreaterEqual(Fraction(norm) ** 2, square)
        self.assertLess(norm, math.sqrt(square) * (1 + 1e-13))

    def test_frobenius_norm_survives_a_sum_that_rounds_down(self):
        # Each square is lost when added to one, all together are not.
        matrix = np.array([[1.0] + [2.0**-28] * 7])
        norm = rounding.frobenius_norm_up(matrix)
        self.assertEqual(np.sum(matrix**2), 1.0)
        exact = 1 + 7 * Fraction(1, 2**56)
        self.assertGreaterEqual(Fraction(norm) ** 2, exact)

    def test_norm_of_unknown_entries_is_infinite(self):
        matrices = np.zeros((2, 2, 2))
        matrices[0, 0, 0] = np.nan
        self.assertEqual(rounding.frobenius_norm_up(matrices), math.inf)

    def test_product_error_covers_its_theorem(self):
        real = rounding.product_error_up(2.0, 3.0, 10, is_complex=False)
        self.assertGreaterEqual(real, 6 * rounding.gamma(10))
        self.assertLess(real, 6.1 * rounding.gamma(10))
        # Four real products, each part a sum of twenty; or three, and sums.
        either = rounding.product_error_up(2.0, 3.0, 10, is_complex=True)
        four = 6 * math.sqrt(2) * rounding.gamma(20)
        three = 6 * math.sqrt(10) * rounding.gamma(15)
        self.assertGreaterEqual(either, max(four, three))

    @parameterized.parameters(SMALLEST, 3e-310, 1e-10, 4.3e9, 1e300, LARGEST)
    def test_scaling_to_unit_is_exact(self, largest):
        array = np.array([[0.0, -largest], [largest / 2, largest]])
        scaled, scale = rounding.scale_to_unit(array)
        self.assertBetween(np.max(np.abs(scaled)), 1.0, np.nextafter(2.0, 0))
        self.assertEqual(math.frexp(scale)[0], 0.5)
        np.testing.assert_array_equal(scaled * scale, array)

    def test_scaling_to_unit_sees_the_imaginary_part(self):
        array = np.array([1.0 + 12.0j]) * 2.0**40
        scaled, scale = rounding.scale_to_unit(array)
        self.assertEqual(scaled[0], 0.125 + 1.5j)
        self.assertEqual(scale, 2.0**43)

    def test_scaling_to_unit_sees_negative_numbers(self):
        for array in (np.array([-12.0, 1.0]), np.array([1.0 - 12.0j])):
            array = array * 2.0**40
            before = array.copy()
            scaled, scale = rounding.scale_to_unit(array)
            self.assertEqual(scale, 2.0**43)
            np.testing.assert_array_equal(scale * scaled, before)
            np.testing.assert_array_equal(array, before)

    @parameterized.parameters(2.0**-32, 1.0, -3.7, np.nextafter(2.0**32, 0))
    def test_moderate_numbers_are_not_scaled(self, largest):
        array = np.array([largest, largest / 2])
        scaled, scale = rounding.scale_to_unit(array)
        self.assertIs(scaled, array)
        self.assertEqual(scale, 1.0)
