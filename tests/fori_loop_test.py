import numpy as np
from keras import ops

from keras_lip.fori_loop import fori_loop
from tests.lipschitz_test_case import LipschitzTestCase


class ForiLoopTest(LipschitzTestCase):
    def test_loop_is_its_steps(self):
        def step(index, carry):
            total, factor = carry
            index = ops.cast(index, "float32")
            return ops.add(total, ops.multiply(index, factor)), factor

        for factor in (1.0, 2.0):
            carry = ops.zeros(2), ops.convert_to_tensor(factor)
            total, _ = fori_loop(5, step, carry)
            self.assertAllClose(total, np.full(2, 10 * factor))
        # Another shape, another length.
        total, _ = fori_loop(3, step, (ops.zeros(1), ops.ones(())))
        self.assertAllClose(total, [3.0])
