import keras
import numpy as np
from absl.testing import parameterized

from keras_lip.program import freeze
from keras_lip.program.arithmetic import get_arithmetic
from keras_lip.program.enclosure import Machine
from tests.lipschitz_test_case import LipschitzTestCase

_UNIT = 2.0**-24


class ArithmeticEnclosureTest(LipschitzTestCase):
    def run_operation(self, function, x, dtype="float32"):
        inputs = keras.Input(x.shape[1:], dtype=dtype)
        program = freeze(keras.Model(inputs, function(inputs)))
        machine = Machine(get_arithmetic(dtype), sharp=True)
        (outputs,) = program.enclose(x, machine)
        return outputs

    @parameterized.named_parameters(
        ("multiply", lambda x: 0.1 * x, 0.1, 2),
        ("divide", lambda x: x / 10.0, 0.1, 2),
        ("negative", lambda x: -x, 1.0, 0),
        ("sum", lambda x: x + x, 2.0, 1),
        ("difference", lambda x: x - (-x), 2.0, 1),
        ("rescaling", keras.layers.Rescaling(0.1, 0.3), 0.1, 3),
        ("leaky", keras.layers.LeakyReLU(0.1), 1.0, 0.2),
        ("leaky_by_name", keras.layers.Activation("leaky_relu"), 1.0, 0.4),
    )
    def test_rounding_is_covered_and_not_by_far(self, function, scale, least):
        # One input rounding, and `least` of the output, are possible.
        x = -np.abs(self.normal(4, 3)).astype("float64")
        outputs = self.run_operation(function, x)
        self.assertAllClose(outputs.drift[1], [scale] * 4)
        norms = np.linalg.norm(outputs.value, axis=1)
        entering = scale * _UNIT * np.linalg.norm(x, axis=1)
        self.assertTrue((outputs.error[0] >= entering).all())
        least = entering + least * _UNIT * scale * np.linalg.norm(x, axis=1)
        self.assertTrue((outputs.error[0] >= 0.999 * least).all())
        self.assertTrue((outputs.error[0] <= 10 * (least + norms)).all())
        self.assertTrue((outputs.center <= 1e-8 * outputs.error[0]).all())

    @parameterized.named_parameters(
        ("constant", lambda x: x + 0.7),
        ("constant_from_the_left", lambda x: 0.7 - x),
        ("vector", lambda x: x + np.array([0.7, 0.9, 1.4])),
        ("offset", keras.layers.Rescaling(1.0, 0.7, dtype="float64")),
        (
            "offsets",
            keras.layers.Rescaling(1.0, [0.7, 0.9, 1.4], dtype="float64"),
        ),
        ("product", lambda x: 0.7 * x),
        ("products", lambda x: x * np.array([0.7, 0.9, 1.4])),
        ("rescaling", keras.layers.Rescaling(0.7, dtype="float64")),
        ("leaky", lambda x: keras.layers.LeakyReLU(0.7, dtype="float64")(-x)),
        ("weighted_sum", lambda x: 0.7 * x + 0.9 * keras.ops.relu(x)),
        ("difference", lambda x: 3 * keras.ops.relu(x) - 0.7 * x),
    )
    def test_constants_count_as_rounded_to_float32(self, function):
        # They may be, whatever the dtype of the tensors. Each of these is
        # nearer to zero in float32, so that it is read as it is.
        if keras.backend.backend() != "tensorflow":
            self.skipTest("Sums and products with numbers are in float32.")
        x = 1.0 + np.abs(self.rng.normal(size=(4, 3)))
        outputs = self.run_operation(function, x, "float64")
        self.assertTrue((outputs.error[0] > 1e-9).all())
        self.assertTrue((outputs.error[0] < 1e-6 * np.linalg.norm(x)).all())
        self.assertTrue((outputs.center < 1e-13).all())

    def test_constants_of_float32_count_as_they_are(self):
        def function(x):
            return 0.25 * x + 0.5 * keras.ops.relu(x) - 1.5

        x = self.rng.normal(size=(4, 3))
        outputs = self.run_operation(function, x, "float64")
        self.assertTrue((outputs.error[0] < 1e-13).all())

    def test_division_by_zero_has_no_bound(self):
        outputs = self.run_operation(lambda x: x / 0.0, self.normal(2, 3))
        self.assertFalse(np.isfinite(outputs.drift).any())
        self.assertTrue((outputs.limit <= 0).all())

    @parameterized.named_parameters(
        ("broadcast", lambda x: x + x[:, :1], "must not broadcast"),
        ("square", lambda x: x * x, "multiplies two tensors"),
        ("divide_by_tensor", lambda x: 1.0 / x, "divides by a tensor"),
        ("offset", lambda x: x + np.ones((2, 3)), "must not broadcast"),
    )
    def test_operation_is_refused(self, function, why):
        with self.assertRaisesRegex(ValueError, why):
            self.run_operation(function, self.normal(2, 3))
