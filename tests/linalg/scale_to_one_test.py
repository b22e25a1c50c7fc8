import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.linalg import scale_to_one
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class ScaleToOneTest(LipschitzTestCase):
    @parameterized.named_parameters(
        ("first", 0), ("last", -1), ("both", (0, 1)), ("all", None)
    )
    def test_largest_value_becomes_one(self, axis):
        tensor = self.normal(4, 3)
        actual = to_numpy(scale_to_one(ops.convert_to_tensor(tensor), axis))
        largest = np.abs(tensor).max(axis=axis, keepdims=True)
        self.assertAllClose(actual, tensor / largest)
        self.assertAllClose(np.abs(actual).max(axis=axis), 1.0)

    @parameterized.parameters(1e-35, 1e-25, 1e-3, 1e30)
    def test_result_does_not_depend_on_the_scale(self, scale):
        tensor = self.normal(4, 3)
        scaled = (tensor.astype("float64") * scale).astype("float32")
        self.assertAllClose(
            scale_to_one(ops.convert_to_tensor(scaled), axis=None),
            scale_to_one(ops.convert_to_tensor(tensor), axis=None),
        )

    def test_tiny_values_stay_as_they_are(self):
        tensor = np.array([[1e-38, 2.0], [0.0, -4.0]], dtype="float32")
        actual = to_numpy(scale_to_one(ops.convert_to_tensor(tensor), axis=0))
        self.assertAllClose(actual[:, 1], [0.5, -1.0])
        # A backend may flush what is tiny to zero.
        self.assertLess(np.abs(actual[:, 0]).max(), 1e-30)
        zeros = ops.zeros((2, 3))
        self.assertAllClose(scale_to_one(zeros, axis=(0, 1)), zeros, 0, 0)

    def test_no_gradient_flows_through_the_scale(self):
        tensor = ops.convert_to_tensor(np.array([[1.0, -4.0], [0.0, 0.0]]))
        tensor = ops.cast(tensor, "float32")
        slope = gradient(lambda t: scale_to_one(t, axis=-1), tensor)
        self.assertAllClose(slope, [[0.25, 0.25], [1.0, 1.0]])

    @parameterized.parameters(
        (1e-30, 1e6), (1e-9, 1e6), (1e-5, 1e5), (1e5, 1e-5)
    )
    def test_gradient_is_at_most_a_million(self, scale, slope):
        tensor = ops.convert_to_tensor(
            np.array([[0.5, -1.0]], "float32") * scale
        )
        actual = gradient(lambda t: scale_to_one(t, axis=-1), tensor)
        self.assertAllClose(actual, [[slope, slope]], 0, 1e-5)
        self.assertAllClose(scale_to_one(tensor, axis=-1), [[0.5, -1.0]])
