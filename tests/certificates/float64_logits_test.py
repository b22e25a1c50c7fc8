import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

import keras_lip
from keras_lip.certificates.float64_logits import Float64Logits
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class Loud(keras.Model):
    """A functional model with another `call`, which is traced."""

    def call(self, inputs, training=None, mask=None):
        return 3.0 * super().call(inputs)


class Float64LogitsTest(LipschitzTestCase):
    def weights(self, layer):
        return [to_numpy(w).astype("float64") for w in layer.weights]

    def test_logits_have_the_digits_of_float64(self):
        dense = layers.Dense(3, bias_initializer="ones")
        model = keras.Sequential([keras.Input((200,)), dense])
        x = self.rng.normal(size=(8, 200))
        kernel, bias = self.weights(dense)
        logits = Float64Logits(model)(x)
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
        self.assertAllClose(Float64Logits(model)(x), expected, 1e-13, 1e-13)

    def test_logits_of_a_traced_model_have_the_digits_of_float64(self):
        dense = layers.Dense(3)
        inputs = keras.Input((5,))
        model = Loud(inputs, dense(inputs))
        x = self.rng.normal(size=(8, 5))
        kernel, bias = self.weights(dense)
        expected = 3.0 * (x @ kernel + bias)
        self.assertAllClose(Float64Logits(model)(x), expected, 1e-13, 1e-13)

    def test_lora_weights_count(self):
        dense = layers.Dense(3)
        model = keras.Sequential([keras.Input((5,)), dense])
        dense.enable_lora(2, lora_alpha=6)
        dense.lora_kernel_b.assign(self.normal(2, 3))
        x = self.rng.normal(size=(8, 5))
        expected = to_numpy(model(x.astype("float32")))
        self.assertAllClose(Float64Logits(model)(x), expected, 1e-5, 1e-5)

    @parameterized.parameters("mixed_bfloat16", "float16")
    def test_model_of_16_bits_is_refused(self, dtype):
        stack = [keras.Input((5,)), layers.Dense(3, dtype=dtype, name="half")]
        with self.assertRaisesRegex(ValueError, "Layer 'half' computes in"):
            Float64Logits(keras.Sequential(stack))
