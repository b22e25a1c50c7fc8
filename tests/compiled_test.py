import keras
import numpy as np
from keras import ops

from keras_lip.compiled import compile_reading
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
