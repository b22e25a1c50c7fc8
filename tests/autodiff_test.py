import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.autodiff import gradient
from tests.lipschitz_test_case import LipschitzTestCase


class GradientTest(LipschitzTestCase):
    def test_sum_of_the_output_is_differentiated(self):
        x = self.normal(3, 4)
        actual = gradient(ops.square, ops.convert_to_tensor(x))
        self.assertAllClose(actual, 2 * x)
        actual = gradient(
            lambda t: ops.sum(ops.square(t)), ops.convert_to_tensor(x)
        )
        self.assertAllClose(actual, 2 * x)

    def test_each_sample_has_its_own_gradient(self):
        kernel, x = self.normal(4, 1), self.normal(5, 4)
        actual = gradient(
            lambda t: ops.square(ops.matmul(t, kernel)),
            ops.convert_to_tensor(x),
        )
        self.assertAllClose(actual, 2 * (x @ kernel) * kernel[:, 0], 1e-5, 1e-5)

    @parameterized.parameters("float16", "float32")
    def test_gradient_has_shape_and_dtype_of_the_input(self, dtype):
        x = ops.convert_to_tensor(self.normal(2, 3, 4), dtype=dtype)
        actual = gradient(lambda t: ops.sum(t * 3.0, axis=(1, 2)), x)
        self.assertEqual(tuple(actual.shape), (2, 3, 4))
        self.assertEqual(keras.backend.standardize_dtype(actual.dtype), dtype)
        self.assertAllClose(actual, np.full((2, 3, 4), 3.0))

    def test_weights_are_not_differentiated(self):
        # Nor is the input changed.
        layer = keras.layers.Dense(2)
        x = ops.convert_to_tensor(self.normal(3, 4))
        layer.build((None, 4))
        actual = gradient(layer, x)
        kernel = ops.convert_to_numpy(layer.kernel)
        expected = np.broadcast_to(kernel.sum(axis=1), (3, 4))
        self.assertAllClose(actual, expected, 1e-5, 1e-5)
        if keras.backend.backend() == "torch":
            self.assertIsNone(layer.kernel.value.grad)
            self.assertFalse(x.requires_grad)

    def test_gradient_is_taken_where_none_is_recorded(self):
        x = ops.convert_to_tensor(self.normal(3, 4))
        if keras.backend.backend() == "torch":
            import torch

            with torch.no_grad():
                actual = gradient(ops.square, x)
        else:
            actual = gradient(ops.square, x)
        self.assertAllClose(actual, 2 * ops.convert_to_numpy(x))

    def test_unknown_backend_is_refused(self):
        backend = keras.backend.backend
        keras.backend.backend = lambda: "abacus"
        self.addCleanup(setattr, keras.backend, "backend", backend)
        with self.assertRaisesRegex(
            NotImplementedError, "Received: backend='abacus'"
        ):
            gradient(ops.square, ops.ones((1,)))
