import keras
import numpy as np
from keras import ops

from keras_lip.compiled import compile_reading
from keras_lip.compiled import fori_loop
from tests.lipschitz_test_case import LipschitzTestCase


class CompileReadingTest(LipschitzTestCase):
    def test_every_call_reads_the_values_of_now(self):
        first, second = keras.Variable(1.0), keras.Variable(np.ones(3))
        run = compile_reading(
            lambda: {"sum": ops.add(first, second), "first": first * 2},
            [first, second],
        )
        for value in (1.0, 5.0):
            first.assign(value)
            found = run()
            self.assertAllClose(found["sum"], np.full(3, value + 1))
            self.assertAllClose(found["first"], 2 * value)


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
