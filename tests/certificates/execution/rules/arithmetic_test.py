import keras
import numpy as np
from absl.testing import parameterized

from keras_lip.certificates.execution.arithmetic import get_arithmetic
from keras_lip.certificates.execution.model_execution import ModelExecution
from tests.lipschitz_test_case import LipschitzTestCase

_UNIT = 2.0**-24


class ArithmeticTest(LipschitzTestCase):
    def run_operation(self, function, x):
        inputs = keras.Input(x.shape[1:])
        model = keras.Model(inputs, function(inputs))
        return ModelExecution(model, get_arithmetic("float32"))(x)

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
        ("broadcast", lambda x: x + x[:, :1], "of one shape"),
        ("constant", lambda x: x + 1.0, "of one shape"),
        ("square", lambda x: x * x, "numbers"),
        ("divide_by_tensor", lambda x: 1.0 / x, "numbers"),
        ("divide_by_zero", lambda x: x / 0.0, "divides by 0.0"),
        ("offsets", keras.layers.Rescaling(1.0, [1.0, 2.0, 3.0]), "numbers"),
    )
    def test_operation_is_refused(self, function, why):
        with self.assertRaisesRegex(ValueError, why):
            self.run_operation(function, self.normal(2, 3))
