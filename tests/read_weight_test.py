import keras
import numpy as np
from absl.testing import parameterized

from keras_lip.read_weight import read_kernel
from keras_lip.read_weight import read_weight
from tests.lipschitz_test_case import LipschitzTestCase


class ReadKernelTest(LipschitzTestCase):
    @parameterized.named_parameters(
        ("float32", "float32", np.float32(1.0059)),
        ("float16", "float16", np.float16(1.0059)),
        ("bfloat16", "bfloat16", 1.0078125),
        ("mixed", "mixed_bfloat16", 1.0078125),
    )
    def test_kernel_is_rounded_to_the_dtype_that_runs(self, dtype, expected):
        layer = keras.layers.Identity(dtype=dtype)
        kernel = keras.Variable(np.array([1.0059], dtype="float32"))
        array = read_kernel(layer, kernel)
        self.assertEqual(array.dtype, "float64")
        self.assertEqual(array[0], expected)

    def test_weight_is_not_rounded(self):
        for dtype in "float16", "bfloat16", "float32":
            weight = keras.Variable(np.array([1.0078125]), dtype=dtype)
            self.assertEqual(read_weight(weight)[0], 1.0078125)

    def test_float64_weight_keeps_its_digits(self):
        if keras.backend.backend() == "jax":
            self.skipTest("JAX has no float64, unless it is told to.")
        weight = keras.ops.convert_to_tensor([1 + 2.0**-40], dtype="float64")
        self.assertEqual(read_weight(weight)[0], 1 + 2.0**-40)
