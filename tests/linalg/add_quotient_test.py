import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.linalg.add_quotient import add_quotient
from keras_lip.traces import is_concrete
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class AddQuotientTest(LipschitzTestCase):
    @parameterized.product(divisor=(1, 2, 3, 7), dtype=("float32", "bfloat16"))
    def test_roundings_are_those_of_the_formula(self, divisor, dtype):
        x = ops.cast(self.normal(50, 4), dtype)
        y = ops.cast(self.normal(50, 4), dtype)
        expected = to_numpy(ops.cast(x + y / divisor, "float32"))
        kept = to_numpy(ops.cast(x, "float32"))
        actual = add_quotient(x, y, divisor)
        self.assertEqual(keras.backend.standardize_dtype(actual.dtype), dtype)
        self.assertAllClose(ops.cast(actual, "float32"), expected, 0, 0)
        self.assertAllClose(ops.cast(x, "float32"), kept, 0, 0)
        self.assertTrue(is_concrete(actual))

    def test_both_are_differentiated(self):
        x, y = self.normal(3, 4), self.normal(3, 4)
        for which, factor in enumerate((1.0, 0.2)):

            def function(tensor, which=which):
                pair = [ops.convert_to_tensor(x), ops.convert_to_tensor(y)]
                pair[which] = tensor
                return ops.square(add_quotient(*pair, 5))

            actual = gradient(function, ops.convert_to_tensor((x, y)[which]))
            self.assertAllClose(actual, 2 * factor * (x + y / 5), 1e-5, 1e-5)

    def test_torch_writes_over_what_is_lost(self):
        if keras.backend.backend() != "torch":
            self.skipTest("The others write what their compilers decide.")
        x, y = (ops.convert_to_tensor(self.normal(3, 4)) for _ in range(2))
        self.assertEqual(add_quotient(x, y, 3).data_ptr(), y.data_ptr())
        y.requires_grad_()
        kept = np.array(y.tolist(), "float32")
        self.assertNotEqual(add_quotient(x, y, 3).data_ptr(), y.data_ptr())
        self.assertAllClose(y.detach(), kept, 0, 0)
