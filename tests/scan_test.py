import numpy as np
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.scan import scan
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def step(carry, slices):
    factor, offset = slices
    carry = carry * factor + ops.sum(offset)
    return carry, [ops.sum(carry) * offset]


class ScanTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.factors = self.normal(4, 3)
        self.offsets = self.normal(4, 2)
        self.reads = [
            ops.convert_to_tensor(self.factors),
            ops.convert_to_tensor(self.offsets),
        ]

    def run_scan(self, carry):
        return scan(step, carry, self.reads, self.reads[1:])

    def test_turns_follow_each_other_and_write_what_they_return(self):
        start = self.normal(3)
        carry, (written,) = self.run_scan(ops.convert_to_tensor(start))
        expected = start
        rows = []
        for factor, offset in zip(self.factors, self.offsets, strict=True):
            expected = expected * factor + offset.sum()
            rows.append(expected.sum() * offset)
        self.assertAllClose(carry, expected, 1e-5)
        self.assertAllClose(written, np.stack(rows), 1e-5)

    def test_gradients_pass_through_the_loop(self):
        start = ops.convert_to_tensor(self.normal(3))
        slope = gradient(lambda carry: self.run_scan(carry)[0], start)
        self.assertAllClose(slope, self.factors.prod(axis=0), 1e-5)
        slope = gradient(lambda carry: self.run_scan(carry)[1][0], start)
        # A turn writes the sum of what it carries, times the offset.
        rows = np.cumprod(self.factors, axis=0)
        expected = (rows * self.offsets.sum(axis=1)[:, None]).sum(axis=0)
        self.assertAllClose(slope, expected, 1e-5)

    def test_nothing_need_be_written(self):
        start = ops.convert_to_tensor(self.normal(3))
        carry, written = scan(
            lambda carry, slices: (carry * slices[0], []),
            start,
            self.reads[:1],
            [],
        )
        self.assertEmpty(written)
        expected = to_numpy(start) * self.factors.prod(axis=0)
        self.assertAllClose(carry, expected, 1e-5)
