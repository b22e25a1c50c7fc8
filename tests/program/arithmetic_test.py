from fractions import Fraction

import numpy as np
from absl.testing import parameterized

from keras_lip.program.arithmetic import constant_rate
from keras_lip.program.arithmetic import get_arithmetic
from tests.lipschitz_test_case import LipschitzTestCase


class ArithmeticTest(LipschitzTestCase):
    @parameterized.parameters(
        ("float32", 2.0**-24, 2.0**-126), ("float64", 2.0**-53, 2.0**-1022)
    )
    def test_gamma_is_above_the_quotient(self, dtype, unit, smallest):
        arithmetic = get_arithmetic(dtype)
        self.assertEqual(arithmetic.unit, unit)
        self.assertEqual(arithmetic.smallest, smallest)
        self.assertEqual(arithmetic.underflow * unit, smallest)
        for roundings in (1, 3, 1000):
            total = roundings * Fraction(unit)
            gamma = arithmetic.gamma(roundings)
            self.assertGreaterEqual(Fraction(gamma), total / (1 - total))
            self.assertAlmostEqual(gamma / unit, roundings, delta=0.1)

    def test_sums_too_long_for_the_dtype_have_no_bound(self):
        self.assertEqual(get_arithmetic("float32").gamma(2**23), np.inf)

    @parameterized.parameters("float16", "bfloat16", "real")
    def test_other_arithmetics_are_refused(self, dtype):
        with self.assertRaisesRegex(ValueError, f"Received: '{dtype}'"):
            get_arithmetic(dtype)

    def test_constants_count_as_they_may_be_rounded(self):
        arithmetic = get_arithmetic("float64")
        gamma = arithmetic.gamma(2)
        self.assertEqual(constant_rate(-0.5, 2, arithmetic), gamma)
        self.assertEqual(constant_rate(0.0, 2, arithmetic), gamma)
        # 1 / 255 is no float32: its rounding is off by this much.
        off = abs(float(np.float32(1 / 255)) * 255 - 1)
        self.assertGreater(constant_rate(1 / 255, 2, arithmetic), off)
        self.assertLess(constant_rate(1 / 255, 2, arithmetic), 2e-7)
        # This is flushed to zero, and this overflows.
        self.assertGreaterEqual(constant_rate(1e-40, 2, arithmetic), 1.0)
        self.assertEqual(constant_rate(1e39, 2, arithmetic), np.inf)
