import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip.bounds import lipschitz_bound
from keras_lip.program import freeze
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

    @parameterized.named_parameters(
        ("product", lambda x: 0.7 * x, lambda x, c: c * x),
        ("quotient", lambda x: x / 0.7, lambda x, c: x / c),
        ("sum", lambda x: x + 0.7, lambda x, c: x + c),
        ("difference", lambda x: 0.7 - x, lambda x, c: c - x),
        ("maximum", lambda x: ops.maximum(x, 0.7), np.maximum),
        (
            "clip",
            lambda x: ops.clip(x, -0.7, 0.7),
            lambda x, c: np.clip(x, -c, c),
        ),
        ("rescaling", keras.layers.Rescaling(0.7), lambda x, c: c * x),
        ("offset", keras.layers.Rescaling(1.0, 0.7), lambda x, c: x + c),
        (
            "leaky",
            keras.layers.LeakyReLU(0.7),
            lambda x, c: np.maximum(x, c * x),
        ),
        (
            "leaky_by_name",
            keras.layers.Activation("leaky_relu"),
            lambda x, c: np.maximum(x, np.float32(0.2) * x),
        ),
        (
            "batch",
            keras.layers.BatchNormalization(
                epsilon=0.7, moving_variance_initializer="zeros"
            ),
            lambda x, c: x / np.sqrt(c),
        ),
        (
            "pooling",
            layers.ScaledAveragePooling2D((1, 3)),
            lambda x, c: x.reshape(2, 3).sum(1) * np.float32(3**-0.5),
        ),
    )
    def test_values_are_of_the_number_that_runs(self, layer, exact):
        # Next to the exact number, a radius would be off by 1e-8.
        x = np.array([0.5, -0.25, 4.0, 3.0, -8.0, 1.0])
        inputs = keras.Input((1, 6, 1))
        program = freeze(keras.Model(inputs, layer(inputs)))
        found = program.run(x.reshape(1, 1, 6, 1)).ravel()
        expected = exact(x, float(np.float32(0.7)))
        self.assertAllClose(found, expected, 0.0, 1e-14)

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
