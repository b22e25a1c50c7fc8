import keras
import numpy as np
from absl.testing import parameterized
from keras import layers
from keras import ops

import keras_lip
from keras_lip.program import freeze
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

_ACTIVATIONS = (
    "elu",
    "gelu",
    "hard_sigmoid",
    "leaky_relu",
    "log_sigmoid",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "tanh",
)


class Loud(keras.Model):
    """A functional model with another `call`, which is traced."""

    def call(self, inputs, training=None, mask=None):
        return 3.0 * super().call(inputs)


class RunTest(LipschitzTestCase):
    # What is certified is computed in float64.
    @parameterized.named_parameters(
        ("dense", lambda: layers.Dense(3), (4,)),
        ("conv", lambda: layers.Conv2D(2, 3), (4, 4, 1)),
        ("depthwise", lambda: layers.DepthwiseConv1D(3), (4, 1)),
        ("transpose", lambda: layers.Conv1DTranspose(2, 3), (4, 1)),
        ("batch", layers.BatchNormalization, (4,)),
        (
            "normalization",
            lambda: layers.Normalization(mean=0.3, variance=2),
            (4,),
        ),
        ("rescaling", lambda: layers.Rescaling(0.3), (4,)),
        ("mean", lambda: layers.AveragePooling1D(2), (4, 1)),
        ("max", layers.MaxPooling1D, (4, 1)),
        ("global", layers.GlobalAveragePooling1D, (4, 1)),
        ("prelu", lambda: layers.PReLU(alpha_initializer="ones"), (4,)),
        *(
            (name, lambda n=name: layers.Activation(n), (4,))
            for name in _ACTIVATIONS
        ),
    )
    def test_layer_is_computed_in_float64(self, make, shape):
        inputs = keras.Input(shape)
        self.check_digits(keras.Model(inputs, make()(inputs)))

    @parameterized.parameters(
        layers.Add,
        layers.Subtract,
        layers.Average,
        layers.Maximum,
        layers.Minimum,
        layers.Concatenate,
    )
    def test_merge_is_computed_in_float64(self, layer_cls):
        inputs = keras.Input((4,))
        branches = [inputs, 0.5 * inputs]
        self.check_digits(keras.Model(inputs, layer_cls()(branches)))

    def test_operations_are_computed_in_float64(self):
        inputs = keras.Input((4,))
        kernel = self.normal(4, 4)
        for outputs in (
            ops.matmul(inputs, kernel),
            ops.maximum(inputs, -inputs),
            ops.sort(inputs, axis=1),
        ):
            self.check_digits(keras.Model(inputs, outputs))

    def check_digits(self, model):
        """It is the model, and a step of 1e-7 is seen with four digits."""
        program = freeze(model)
        shape = model.input_shape[1:]
        x = 0.5 * self.rng.normal(size=(1, *shape))
        step = self.rng.normal(size=(1, *shape))
        self.assertAllClose(program.run(x), model(x.astype("float32")), 1e-5)

        def change(size):
            before, after = program.run(np.concatenate([x, x + size * step]))
            self.assertEqual(after.dtype, "float64")
            return (after - before) / size

        expected = change(1e-5)
        error = np.abs(change(1e-7) - expected).max()
        self.assertLessEqual(error, 1e-4 * np.abs(expected).max())

    def weights(self, layer):
        return [to_numpy(w).astype("float64") for w in layer.weights]

    def test_logits_have_the_digits_of_float64(self):
        dense = layers.Dense(3, bias_initializer="ones")
        model = keras.Sequential([keras.Input((200,)), dense])
        x = self.rng.normal(size=(8, 200))
        kernel, bias = self.weights(dense)
        logits = freeze(model).run(x)
        self.assertEqual(logits.dtype, "float64")
        self.assertAllClose(logits, x @ kernel + bias, 1e-13, 1e-13)

    def test_logits_of_several_layers_have_the_digits_of_float64(self):
        first, second = layers.Dense(6), layers.Dense(4)
        model = keras.Sequential(
            [
                keras.Input((5,)),
                layers.Rescaling(0.125),
                first,
                keras_lip.layers.MaxMin(),
                layers.BatchNormalization(epsilon=0.0),
                second,
            ]
        )
        x = self.rng.normal(size=(8, 5))
        (kernel, bias), (kernel_2, bias_2) = map(self.weights, (first, second))
        hidden = (0.125 * x @ kernel + bias).reshape(8, 3, 2)
        hidden = np.stack([hidden.max(-1), hidden.min(-1)], -1).reshape(8, 6)
        expected = hidden @ kernel_2 + bias_2
        self.assertAllClose(freeze(model).run(x), expected, 1e-13, 1e-13)

    def test_logits_of_a_traced_model_have_the_digits_of_float64(self):
        dense = layers.Dense(3)
        inputs = keras.Input((5,))
        model = Loud(inputs, dense(inputs))
        x = self.rng.normal(size=(8, 5))
        kernel, bias = self.weights(dense)
        expected = 3.0 * (x @ kernel + bias)
        self.assertAllClose(freeze(model).run(x), expected, 1e-13, 1e-13)

    def test_lora_weights_count(self):
        dense = layers.Dense(3)
        model = keras.Sequential([keras.Input((5,)), dense])
        dense.enable_lora(2, lora_alpha=6)
        dense.lora_kernel_b.assign(self.normal(2, 3))
        x = self.normal(8, 5)
        self.assertAllClose(freeze(model).run(x), model(x), 1e-5, 1e-5)

    def test_weights_are_read_once(self):
        dense = layers.Dense(3)
        model = keras.Sequential([keras.Input((5,)), dense])
        program, x = freeze(model), self.normal(2, 5)
        before = program.run(x)
        dense.kernel.assign(2 * dense.kernel)
        self.assertAllClose(program.run(x), before, 0, 0)
        self.assertAllClose(freeze(model).run(x), 2 * before)
