import fractions
import math

import numpy as np
from absl.testing import parameterized

from keras_lip.validation import check_integer
from keras_lip.validation import check_known
from keras_lip.validation import check_number
from keras_lip.validation import check_numbers
from keras_lip.validation import check_positive_integer
from tests.lipschitz_test_case import LipschitzTestCase


class CheckIntegerTest(LipschitzTestCase):
    @parameterized.parameters(-2, 0, 7, np.int64(-3), np.uint8(3))
    def test_integer_is_returned(self, value):
        result = check_integer("axis", value)
        self.assertIs(type(result), int)
        self.assertEqual(result, value)

    @parameterized.parameters(1.0, True, "3", None, ([3],), math.nan)
    def test_anything_else_is_refused(self, value):
        with self.assertRaisesRegex(
            ValueError, "`axis` must be an integer. Received: axis="
        ):
            check_integer("axis", value)


class CheckPositiveIntegerTest(LipschitzTestCase):
    @parameterized.parameters(1, 7, np.int64(3), np.uint8(3))
    def test_positive_integer_is_returned(self, value):
        result = check_positive_integer("units", value)
        self.assertIs(type(result), int)
        self.assertEqual(result, value)

    @parameterized.parameters(
        0, -1, 1.0, 2.5, True, False, "3", None, ([3],), math.nan, math.inf
    )
    def test_anything_else_is_refused(self, value):
        with self.assertRaisesRegex(
            ValueError, "`units` must be a positive integer. Received: units="
        ):
            check_positive_integer("units", value)

    def test_value_is_shown_as_python_prints_it(self):
        with self.assertRaisesRegex(ValueError, "Received: units='3'$"):
            check_positive_integer("units", "3")


class CheckNumberTest(LipschitzTestCase):
    @parameterized.parameters(
        0, -3, 2.5, np.float32(0.5), np.int32(4), fractions.Fraction(1, 2)
    )
    def test_number_is_returned_as_a_float(self, value):
        result = check_number("rate", value)
        self.assertIs(type(result), float)
        self.assertEqual(result, float(value))

    @parameterized.parameters(
        True, "1", None, 1j, ([1.0],), math.nan, math.inf, -math.inf, 10**400
    )
    def test_what_is_no_finite_number_is_refused(self, value):
        with self.assertRaisesRegex(
            ValueError, "`rate` must be a finite number. Received: rate="
        ):
            check_number("rate", value)

    def test_limits_are_allowed(self):
        self.assertEqual(check_number("rate", 0, low=0.0, high=1.0), 0.0)
        self.assertEqual(check_number("rate", 1, low=0.0, high=1.0), 1.0)

    def test_open_limit_is_not_allowed(self):
        self.assertEqual(check_number("rate", 1e-9, 0.0, open_low=True), 1e-9)
        with self.assertRaisesRegex(
            ValueError, "a finite number greater than 0. Received: rate=0.0"
        ):
            check_number("rate", 0.0, 0.0, open_low=True)

    @parameterized.named_parameters(
        ("below", -1, {"low": 0.0}, "at least 0"),
        ("above", 2, {"high": 1.0}, "at most 1"),
        ("between", 2, {"low": 0.5, "high": 1.0}, "at least 0.5 and at most 1"),
    )
    def test_number_beyond_the_limits_is_refused(self, value, limits, named):
        with self.assertRaisesRegex(
            ValueError, f"a finite number {named}. Received: rate={value}"
        ):
            check_number("rate", value, **limits)


class CheckKnownTest(LipschitzTestCase):
    def test_known_name_is_accepted(self):
        check_known("norm", "l2", ["l1", "l2"])
        check_known("norm", "l2", iter(["l1", "l2"]))

    def test_unknown_name_is_refused_with_the_known_ones(self):
        with self.assertRaisesRegex(
            ValueError, "Unknown norm: 'l3'. The known ones are: 'l1', 'l2'.$"
        ):
            check_known("norm", "l3", {"l2": 2, "l1": 1})

    @parameterized.parameters(None, 3, (["l1"],))
    def test_what_is_no_name_is_refused(self, value):
        with self.assertRaisesRegex(ValueError, "Unknown norm: "):
            check_known("norm", value, ["l1", "l2"])


class CheckNumbersTest(LipschitzTestCase):
    def test_one_number_or_several_become_a_tuple(self):
        for given in (0.5, np.float32(0.5), [0.5], (0.5,), np.array([0.5])):
            self.assertEqual(check_numbers("epsilons", given, 0.0), (0.5,))
        self.assertEqual(check_numbers("epsilons", np.array(0.5), 0.0), (0.5,))
        self.assertEqual(check_numbers("epsilons", [], 0.0), ())

    def test_what_is_no_number_is_refused(self):
        for given in ("0.5", None, object()):
            with self.assertRaisesRegex(TypeError, "`epsilons` must be a"):
                check_numbers("epsilons", given, 0.0)
        for given in (-1.0, [0.1, np.nan], [0.1, "0.2"], True):
            with self.assertRaisesRegex(ValueError, "`epsilons` must be a"):
                check_numbers("epsilons", given, 0.0)
