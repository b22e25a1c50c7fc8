from fractions import Fraction

import numpy as np

from keras_lip.program.arithmetic import HOST
from keras_lip.program.arithmetic import LIVE
from keras_lip.program.arithmetic import get_arithmetic
from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import Machine
from keras_lip.program.enclosure import join_enclosures
from keras_lip.program.enclosure import start_enclosure
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.merges import Combine
from tests.lipschitz_test_case import LipschitzTestCase

_SINGLE = get_arithmetic("float32")
_MACHINE = Machine(_SINGLE, sharp=True)


def make(center, drift, error, limit=np.inf, value=1.0):
    return Enclosure(
        value=np.full((1, 1), value),
        center=np.array([center]),
        drift=np.array(drift).reshape(2, 1),
        error=np.array(error).reshape(2, 1),
        limit=np.array([limit]),
    )


class EnclosureTest(LipschitzTestCase):
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
            _MACHINE, np.array([100.0]), 3, spread, rate=0.5
        )
        center = 100.0 * HOST.gamma(3)
        self.assertAllClose(outputs.center - 1.0, [center], center * 1e-2)
        self.assertAllClose(outputs.error[:, 0], [4.0 + 55.0, 5.0 + 10.0])
        self.assertEqual(outputs.limit[0], 7.0)
        # Without a rate it is that of so many roundings.
        outputs = start.with_rounding(_MACHINE, np.array([100.0]), 3, spread)
        grown = outputs.error[:, 0] - start.error[:, 0]
        rate = _SINGLE.gamma(3)
        self.assertAllClose(grown, [110 * rate, 20 * rate], 1e-12)

    def test_an_ordinary_execution_is_held_to_what_is_typical(self):
        start = make(1.0, [2.0, 3.0], [4.0, 5.0], 7.0)
        machine = Machine(LIVE, sharp=False)
        outputs = start.with_rounding(
            machine, np.array([1e6]), 4, 1e9, typical=np.array([1e4])
        )
        grown = outputs.error[:, 0] - start.error[:, 0]
        # Eight times the root of four roundings, of the inputs alone.
        self.assertAllClose(grown, [16 * 2.0**-24 * 1e4, 0.0], 1e-9)
        self.assertEqual(outputs.limit[0], 7.0)
        # What the host rounds is the worst of all that is possible.
        self.assertGreater(outputs.center[0], 1.0 + 1e6 * HOST.gamma(4) / 2)

    def test_limit_is_where_a_sum_of_moduli_nears_the_range(self):
        quarter = _SINGLE.largest / 4
        for moduli, slope, expected in (
            (quarter / 2, 1.0, quarter / 2),
            (2 * quarter, 1.0, -quarter),
            (np.inf, 1.0, 0.0),
            (1.0, np.inf, 0.0),
        ):
            outputs = make(0.0, [0.0, 1.0], [0.0, 0.0]).with_rounding(
                _MACHINE, np.array([moduli]), 1, np.array([[0.0], [slope]])
            )
            self.assertAllClose(outputs.limit, [expected])

    def test_tensors_side_by_side_are_off_by_the_root_of_squares(self):
        pair = [
            make(3.0, [3.0, 6.0], [9.0, 12.0], 2.0),
            make(4.0, [4.0, 8.0], [12.0, 5.0], 1.0),
        ]
        joined = join_enclosures(pair, np.ones((1, 2)))
        self.assertEqual(joined.value.shape, (1, 2))
        self.assertAllClose(joined.center, [5.0])
        self.assertAllClose(joined.drift[:, 0], [5.0, 10.0])
        self.assertAllClose(joined.error[:, 0], [15.0, 13.0])
        self.assertEqual(joined.limit[0], 1.0)

    def test_sums_are_off_by_the_sum_and_a_rounding(self):
        pair = [
            make(3.0, [3.0, 6.0], [9.0, 12.0], 2.0, value=1e6),
            make(4.0, [4.0, 8.0], [12.0, 5.0], 1.0, value=-1e6),
        ]
        total = Combine((1.0, 1.0)).enclose(pair, _MACHINE)
        self.assertEqual(total.value[0, 0], 0.0)
        self.assertAllClose(total.center, [7.0])
        self.assertAllClose(total.drift[:, 0], [7.0, 14.0])
        # 3 units of 2e6, and of what both may stray by.
        gamma = _SINGLE.gamma(3)
        expected = [21 + gamma * (2e6 + 35), 17 + gamma * 31]
        self.assertAllClose(total.error[:, 0], expected, rtol=1e-9)
        self.assertEqual(total.limit[0], 1.0)
        # A difference is off by as much.
        less = Combine((1.0, -1.0)).enclose(pair, _MACHINE)
        self.assertEqual(less.value[0, 0], 2e6)
        self.assertAllClose(less.error, total.error, 0, 0)

    def test_terms_of_a_sum_count_by_the_moduli_of_their_weights(self):
        pair = [
            make(3.0, [3.0, 6.0], [9.0, 12.0], 2.0),
            make(4.0, [4.0, 8.0], [12.0, 5.0], 1.0),
        ]
        total = Combine((-2.0, 0.5)).enclose(pair, _MACHINE)
        self.assertEqual(total.value[0, 0], -1.5)
        self.assertAllClose(total.center, [8.0])
        self.assertAllClose(total.drift[:, 0], [8.0, 16.0])
        self.assertAllClose(total.error[:, 0], [24.0, 26.5], rtol=1e-5)

    def test_center_bounds_what_the_host_itself_rounds(self):
        # Sums that all but cancel, against exact ones.
        kernel = self.rng.normal(size=(40, 3))
        kernel[20:] = -kernel[:20]
        x = np.repeat(self.rng.normal(size=(5, 20)), 2, axis=0).reshape(5, 40)
        node = Dense(kernel, 1e-3 * np.ones(3))
        outputs = node.enclose([start_enclosure(x, _MACHINE)], _MACHINE)
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
        start = start_enclosure(np.full((1, 4), tiny), _MACHINE)
        self.assertGreaterEqual(start.error[0, 0], 2 * tiny)
        flushed = make(0.0, [0.0, 1.0], [0.0, 0.0]).with_flushing(_MACHINE)
        self.assertGreaterEqual(flushed.error[0, 0], 2 * _SINGLE.smallest)
        # A product of tiny weights, each of which may be lost.
        node = Dense(np.full((4, 1), tiny), None)
        big = start_enclosure(np.full((1, 4), 1e10), _MACHINE)
        outputs = node.enclose([big], _MACHINE)
        self.assertGreaterEqual(outputs.error[0, 0], 4e10 * tiny)

    def test_block_is_off_by_what_it_rounds_and_what_its_input_grows_to(self):
        source = make(1.0, [2.0, 3.0], [4.0, 5.0], 7.0)
        start = source.restart()
        # What is fed into the block is exact, and as far away as it strays.
        self.assertEqual(start.center[0], 0.0)
        self.assertAllClose(start.drift[:, 0], [7.0, 8.0])
        self.assertFalse(start.error.any())
        self.assertEqual(start.limit[0], 7.0)
        inside = make(0.25, [70.0, 80.0], [0.5, 0.75], 6.0, value=9.0)
        outputs = source.grow(inside, 10.0)
        self.assertEqual(outputs.value[0, 0], 9.0)
        self.assertAllClose(outputs.center, [10.25])
        self.assertAllClose(outputs.drift[:, 0], [20.0, 30.0])
        self.assertAllClose(outputs.error[:, 0], [40.5, 50.75])
        self.assertEqual(outputs.limit[0], 6.0)
