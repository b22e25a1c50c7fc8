"""Models that round to less than 32 bits, anywhere, are not certified."""

import keras
import numpy as np
from absl.testing import parameterized
from keras import layers
from keras import ops

from keras_lip import bounds
from keras_lip import certificates
from keras_lip.program import freeze
from tests.lipschitz_test_case import LipschitzTestCase

HALF = "bfloat16"


def nested_with_input(dtype):
    inputs = keras.Input((1,), dtype=dtype)
    outputs = layers.Rescaling(1.0, dtype="float32")(inputs)
    return keras.Model(inputs, outputs)


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Rescaling(1.0, dtype="float32")

    def call(self, inputs):
        return self.inner(inputs)


class Padded(keras.Model):
    """Pads in 16 bits before a convolution in 32, which takes the padding."""

    def __init__(self):
        super().__init__()
        self.split = layers.Reshape((1, 1))
        self.pad = layers.ZeroPadding1D(1, dtype=HALF)
        self.convolve = layers.Conv1D(1, 3, use_bias=False, dtype="float32")
        self.join = layers.Flatten()

    def call(self, inputs):
        return self.join(self.convolve(self.pad(self.split(inputs))))


class Residual(keras.Model):
    """A residual block, which is recognized as one node."""

    def __init__(self):
        super().__init__()
        self.up = layers.Dense(1, use_bias=False, dtype=HALF)
        self.down = layers.Dense(1, use_bias=False, dtype=HALF)

    def call(self, inputs):
        return inputs - ops.cast(self.down(self.up(inputs)), "float32")


def mapped():
    inputs = keras.Input((1,))
    inner = layers.Rescaling(1.0, dtype=HALF)
    outer = layers.TimeDistributed(inner, dtype="float32")
    outputs = layers.Flatten()(outer(layers.Reshape((1, 1))(inputs)))
    return keras.Model(inputs, outputs)


def flattened_policy():
    """A model of another policy, as one for augmentation may be."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return keras.Sequential(
            [
                keras.Input((1,), dtype="float32"),
                layers.Reshape((1, 1, 1)),
                layers.RandomFlip(),
                layers.Flatten(dtype="float32"),
            ]
        )
    finally:
        keras.config.set_dtype_policy("float32")


# Each returns its input, rounded.
ROUNDINGS = {
    "dropout": lambda: layers.Dropout(0.5, dtype=HALF),
    "identity": lambda: layers.Identity(dtype=HALF),
    "float16": lambda: layers.Identity(dtype="float16"),
    "rescaling": lambda: layers.Rescaling(1.0, dtype=HALF),
    "linear": lambda: layers.Activation("linear", dtype=HALF),
    "flatten": lambda: layers.Flatten(dtype=HALF),
    "input_of_nested_model": lambda: nested_with_input(HALF),
    "subclassed": lambda: Subclassed(dtype=HALF),
    "padding": Padded,
    "residual": Residual,
    "time_distributed": mapped,
    "policy_of_nested_model": flattened_policy,
}


class NarrowPrecisionTest(LipschitzTestCase):
    @parameterized.named_parameters(*ROUNDINGS.items())
    def test_rounding_is_refused(self, make):
        model = keras.Sequential([keras.Input((1,)), make()])
        model.add(layers.Dense(2, dtype="float32"))
        with self.assertRaisesRegex(ValueError, "computes in b?float16"):
            certificates.certify(model, np.ones((2, 1)), np.zeros(2, int))
        # The bound is that of the function that does not round.
        self.assertGreater(bounds.lipschitz_bound(model), 0.0)
        self.assertEqual(bounds.contraction_bound(model), 0.0)

    def test_casts_to_eight_bits_are_refused(self):
        inputs = keras.Input((1,))
        cast = ops.cast(ops.cast(inputs, "float8_e4m3fn"), "float32")
        model = keras.Model(inputs, cast)
        with self.assertRaisesRegex(ValueError, "rounds its input to float8"):
            bounds.lipschitz_bound(model)
        inputs = keras.Input((1,), dtype="float8_e4m3fn")
        model = keras.Model(inputs, layers.Dense(2, dtype="float32")(inputs))
        with self.assertRaisesRegex(ValueError, "computes in float8_e4m3fn"):
            certificates.certify(model, np.ones((2, 1)), np.zeros(2, int))

    def test_audit_is_of_another_model(self):
        models = [
            keras.Sequential(
                [
                    keras.Input((1,)),
                    layers.Dropout(0.1, dtype=dtype),
                    layers.Dense(2, dtype="float32"),
                ]
            )
            for dtype in ("float32", HALF)
        ]
        models[1].set_weights(models[0].get_weights())
        programs = [freeze(model) for model in models]
        self.assertNotEqual(programs[0].digest, programs[1].digest)
        self.assertEqual(programs[0].roundings, ())
        self.assertEqual(
            programs[1].roundings,
            ((f"Layer '{models[1].layers[0].name}'", HALF),),
        )

    def test_wide_model_of_a_narrow_policy_is_certified(self):
        keras.config.set_dtype_policy("mixed_bfloat16")
        self.addCleanup(keras.config.set_dtype_policy, "float32")
        model = keras.Sequential(
            [
                keras.Input((1,), dtype="float32"),
                layers.Dense(2, dtype="float32"),
            ]
        )
        report = certificates.certify(model, np.ones((2, 1)), np.zeros(2, int))
        self.assertLen(report.radius, 2)
