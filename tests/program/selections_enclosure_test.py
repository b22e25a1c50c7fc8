import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.certificates.execution_certifier import ExecutionCertifier
from keras_lip.program import freeze
from keras_lip.program.arithmetic import get_arithmetic
from keras_lip.program.enclosure import Machine
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class SelectionsEnclosureTest(LipschitzTestCase):
    def run_operation(self, function, x):
        inputs = keras.Input(x.shape[1:])
        model = keras.Model(inputs, function(inputs))
        machine = Machine(get_arithmetic("float32"), sharp=True)
        (outputs,) = freeze(model).enclose(x, machine)
        return model, outputs

    @parameterized.named_parameters(
        ("transpose", lambda x: ops.transpose(x, (0, 2, 1)), 1),
        ("moveaxis", lambda x: ops.moveaxis(x, 1, -1), 1),
        ("reshape", lambda x: ops.reshape(x, (-1, 8)), 1),
        ("index", lambda x: x[:, 1:, 0], 1),
        ("pad", lambda x: ops.pad(x, [[0, 0], [1, 0], [0, 2]]), 1),
        ("sort", lambda x: ops.sort(x, axis=1), 1),
        ("absolute", ops.absolute, 1),
        ("split", lambda x: ops.split(x, 2, axis=1)[1], 1),
        ("unstack", lambda x: ops.unstack(x, axis=2)[1], 1),
        ("stack", lambda x: ops.stack([x, x, x], axis=1), 3**0.5),
        ("flip", lambda x: ops.flip(x, axis=2), 1),
        ("expand", lambda x: ops.expand_dims(x, 2), 1),
        ("squeeze", lambda x: ops.squeeze(x[:, :, :1], 2), 1),
        ("swap", lambda x: ops.swapaxes(x, 1, 2), 1),
        ("largest", lambda x: ops.max(x, axis=2), 1),
        ("negative", lambda x: -x, 1),
        (
            "concatenate",
            lambda x: ops.concatenate([x, ops.absolute(x)], 2),
            2**0.5,
        ),
        ("maximum", lambda x: ops.maximum(x, ops.absolute(x)), 2**0.5),
        ("minimum", lambda x: ops.minimum(x, ops.absolute(x)), 2**0.5),
    )
    def test_value_is_that_of_the_operation(self, function, growth):
        x = self.normal(3, 4, 2)
        model, outputs = self.run_operation(function, x)
        self.assertAllClose(outputs.value, to_numpy(model(x)), atol=0, rtol=0)
        self.assertAllClose(outputs.drift[1], [growth] * 3)
        # Nothing is rounded but the input.
        _, inputs = self.run_operation(keras.layers.Identity(), x)
        self.assertAllClose(outputs.error / inputs.error, growth)

    @parameterized.named_parameters(
        ("minimum", lambda x: ops.minimum(x, 0.3)),
        ("maximum", lambda x: ops.maximum(0.3, x)),
        ("of_each_entry", lambda x: ops.maximum(x, np.array([0.3, -0.7]))),
        ("clip", lambda x: ops.clip(x, -0.3, 0.7)),
    )
    def test_comparison_with_constants_is_off_by_a_few_roundings(
        self, function
    ):
        x = self.normal(3, 4, 2)
        model, outputs = self.run_operation(function, x)
        self.assertAllClose(outputs.drift[1], [1.0] * 3)
        off = outputs.value - to_numpy(model(x))
        off = np.linalg.norm(off.reshape(3, -1), axis=1)
        self.assertTrue((off <= outputs.error[0]).all())
        self.assertTrue((outputs.error[0] < 1e-4).all())

    @parameterized.parameters("float16", "bfloat16")
    def test_conversion_to_less_than_float32_is_refused(self, dtype):
        inputs = keras.Input((4,))
        for convert in ops.convert_to_tensor, ops.cast:
            outputs = ops.cast(convert(inputs, dtype), "float32")
            model = keras.Model(inputs, keras.layers.Dense(2)(outputs))
            with self.assertRaisesRegex(ValueError, dtype):
                ExecutionCertifier(freeze(model), "float32")

    def test_conversion_is_none_at_all(self):
        x = self.normal(3, 4)
        _, outputs = self.run_operation(ops.convert_to_tensor, x)
        self.assertAllClose(outputs.value, x, atol=0, rtol=0)

    @parameterized.named_parameters(
        ("sort", lambda x: ops.sort(x, axis=0), "samples"),
        ("sort_of_all", lambda x: ops.sort(x, axis=None), "samples"),
        ("transpose", lambda x: ops.transpose(x, (1, 0, 2)), "samples"),
        ("transpose_all", ops.transpose, "samples"),
        ("moveaxis", lambda x: ops.moveaxis(x, 0, 1), "samples"),
        ("index", lambda x: x[::-1, :], "samples"),
        ("reshape", lambda x: ops.reshape(x, (-1, 2)), "samples"),
        ("stack", lambda x: ops.stack([x] * 4, axis=-4), "samples"),
        ("concatenate", lambda x: ops.concatenate([x, x], 0), "samples"),
        ("broadcast", lambda x: ops.maximum(x, x[:, :1]), "must not broadcast"),
        (
            "reflect",
            lambda x: ops.pad(x, [[0, 0], [1, 1], [0, 0]], "reflect"),
            "zeros",
        ),
        (
            "pad_with",
            lambda x: ops.pad(x, [[0, 0], [1, 1], [0, 0]], constant_values=1.0),
            "`constant_values=1.0`",
        ),
    )
    def test_operation_is_refused(self, function, why):
        with self.assertRaisesRegex(ValueError, why):
            self.run_operation(function, self.normal(4, 4, 2))
