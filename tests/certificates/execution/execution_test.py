from fractions import Fraction

import numpy as np

from keras_lip.certificates.execution.arithmetic import get_arithmetic
from keras_lip.certificates.execution.execution import Execution
from keras_lip.certificates.execution.execution import add_executions
from keras_lip.certificates.execution.execution import join_executions
from keras_lip.certificates.execution.execution import start_execution
from keras_lip.certificates.execution.linear_map import LinearMap
from keras_lip.certificates.execution.linear_map import apply_linear
from tests.lipschitz_test_case import LipschitzTestCase

_SINGLE = get_arithmetic("float32")


def make(center, drift, error, limit=np.inf, value=1.0):
    return Execution(
        value=np.full((1, 1), value),
        center=np.array([center]),
        drift=np.array(drift).reshape(2, 1),
        error=np.array(error).reshape(2, 1),
        limit=np.array([limit]),
    )


class ExecutionTest(LipschitzTestCase):
    def test_function_scales_all_that_comes_in(self):
        outputs = make(1.0, [2.0, 3.0], [4.0, 5.0], 7.0).with_value(None, 10.0)
        self.assertAllClose(outputs.center, [10.0])
        self.assertAllClose(outputs.drift[:, 0], [20.0, 30.0])
        self.assertAllClose(outputs.error[:, 0], [40.0, 50.0])
        self.assertEqual(outputs.limit[0], 7.0)

    def test_execution_strays_from_the_value_by_all_three(self):
        spread = make(1.0, [2.0, 3.0], [4.0, 5.0]).spread
        self.assertAllClose(spread[:, 0], [7.0, 8.0])

    def test_roundings_are_those_of_the_moduli_wherever_it_strays(self):
        start = make(1.0, [2.0, 3.0], [4.0, 5.0], 7.0)
        spread = np.array([[10.0], [20.0]])
        outputs = start.with_rounding(
            0.5, 0.25, np.array([100.0]), spread, _SINGLE
        )
        self.assertAllClose(outputs.center, [1.0 + 25.0])
        self.assertAllClose(outputs.error[:, 0], [4.0 + 55.0, 5.0 + 10.0])
        self.assertEqual(outputs.limit[0], 7.0)

    def test_limit_is_where_a_sum_of_moduli_nears_the_range(self):
        quarter = _SINGLE.largest / 4
        for local, slope, expected in (
            (quarter / 2, 1.0, quarter / 2),
            (2 * quarter, 1.0, -quarter),
            (np.inf, 1.0, 0.0),
            (1.0, np.inf, 0.0),
        ):
            outputs = make(0.0, [0.0, 1.0], [0.0, 0.0]).with_rounding(
                0.0, 0.0, np.array([local]), np.array([[0.0], [slope]]), _SINGLE
            )
            self.assertAllClose(outputs.limit, [expected])

    def test_tensors_side_by_side_are_off_by_the_root_of_squares(self):
        pair = [
            make(3.0, [3.0, 6.0], [9.0, 12.0], 2.0),
            make(4.0, [4.0, 8.0], [12.0, 5.0], 1.0),
        ]
        joined = join_executions(pair)
        self.assertAllClose(joined.center, [5.0])
        self.assertAllClose(joined.drift[:, 0], [5.0, 10.0])
        self.assertAllClose(joined.error[:, 0], [15.0, 13.0])
        self.assertEqual(joined.limit[0], 1.0)

    def test_sums_are_off_by_the_sum_and_a_rounding(self):
        pair = [
            make(3.0, [3.0, 6.0], [9.0, 12.0], 2.0, value=1e6),
            make(4.0, [4.0, 8.0], [12.0, 5.0], 1.0, value=-1e6),
        ]
        total = add_executions(pair, np.zeros((1, 1)), _SINGLE)
        self.assertAllClose(total.center, [7.0])
        self.assertAllClose(total.drift[:, 0], [7.0, 14.0])
        # 3 units of 2e6, and of what both may stray by.
        gamma = _SINGLE.gamma(3)
        expected = [21 + gamma * (2e6 + 35), 17 + gamma * 31]
        self.assertAllClose(total.error[:, 0], expected, rtol=1e-9)
        self.assertEqual(total.limit[0], 1.0)

    def test_center_bounds_what_the_host_itself_rounds(self):
        # Sums that all but cancel, against exact ones.
        kernel = self.rng.normal(size=(40, 3))
        kernel[20:] = -kernel[:20]
        x = np.repeat(self.rng.normal(size=(5, 20)), 2, axis=0).reshape(5, 40)
        linear = LinearMap(
            lambda x, a, b: x @ a + b, kernel, 1e-3 * np.ones(3), 9.0, 9.0, 41
        )
        outputs = apply_linear(start_execution(x, _SINGLE), linear, _SINGLE)
        largest = 0.0
        for sample, value, center in zip(
            x, outputs.value, outputs.center, strict=True
        ):
            exact = [
                sum(
                    (
                        Fraction(a) * Fraction(b)
                        for a, b in zip(sample, column, strict=True)
                    ),
                    Fraction(1e-3),
                )
                for column in kernel.T
            ]
            off = [
                float(Fraction(v) - e)
                for v, e in zip(value, exact, strict=True)
            ]
            self.assertLessEqual(np.linalg.norm(off), center)
            self.assertLess(center, 1e-12)
            largest = max(largest, np.linalg.norm(off) / center)
        self.assertGreater(largest, 1e-3)

    def test_numbers_that_may_be_flushed_to_zero_count(self):
        tiny = _SINGLE.smallest / 2
        start = start_execution(np.full((1, 4), tiny), _SINGLE)
        self.assertGreaterEqual(start.error[0, 0], 2 * tiny)
        flushed = make(0.0, [0.0, 1.0], [0.0, 0.0]).with_flushing(_SINGLE)
        self.assertGreaterEqual(flushed.error[0, 0], 2 * _SINGLE.smallest)
        # A product of tiny weights, each of which may be lost.
        kernel = np.full((4, 1), tiny)
        linear = LinearMap(
            lambda x, a, b: x @ a + b, kernel, 0.0, 2 * tiny, 2 * tiny, 5
        )
        big = start_execution(np.full((1, 4), 1e10), _SINGLE)
        outputs = apply_linear(big, linear, _SINGLE)
        self.assertGreaterEqual(outputs.error[0, 0], 4e10 * tiny)
