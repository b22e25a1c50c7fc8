import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.bounds import lipschitz_bound
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

NUMBER = 1.0059


class RoundedConstantsTest(LipschitzTestCase):
    """Bounds are of constants as a backend rounds them."""

    @parameterized.product(
        dtype=("float16", "bfloat16", "float32", "float64"),
        apply=(
            lambda x, number: x * number,
            lambda x, number: ops.leaky_relu(x, number),
            lambda x, number: ops.elu(x, number),
            lambda x, number: keras.layers.Rescaling(number, dtype=x.dtype)(x),
            lambda x, number: keras.layers.LeakyReLU(number, dtype=x.dtype)(x),
        ),
    )
    def test_bound_is_not_below_the_slope_that_runs(self, dtype, apply):
        self.check(dtype, lambda x: apply(x, NUMBER), self.rounded(dtype))

    @parameterized.parameters("float16", "bfloat16", "float32", "float64")
    def test_bound_is_not_below_the_quotient_that_runs(self, dtype):
        # What is divided by is rounded to the smaller numbers.
        smallest = min(-n for n in self.rounded(dtype, -1 / NUMBER))
        self.check(dtype, lambda x: x / (1 / NUMBER), [1 / smallest])

    def rounded(self, dtype, number=NUMBER):
        """Returns a number, and what it may be rounded to."""
        if dtype == "float64" and keras.backend.backend() == "jax":
            self.skipTest("JAX has no float64, unless it is told to.")
        in_dtype = ops.cast(ops.cast(number, dtype), "float32")
        return [number, float(np.float32(number)), float(to_numpy(in_dtype))]

    def check(self, dtype, apply, slopes):
        inputs = keras.Input((1,), dtype=dtype)
        bound = lipschitz_bound(keras.Model(inputs, apply(inputs)))
        self.assertGreaterEqual(bound * (1 + 1e-15), max(slopes))
        self.assertLess(bound, max(slopes) * (1 + 1e-6))
