import hashlib

import keras
import numpy as np
from keras import layers

import keras_lip as kl
from keras_lip.program import freeze
from keras_lip.program.node import hash_value
from tests.lipschitz_test_case import LipschitzTestCase


def make_model(factor=2.0, dense=None, **kwargs):
    inputs = keras.Input((4,))
    x = layers.Rescaling(factor)(inputs)
    x = kl.layers.LipschitzDense(4, kernel_initializer="ones", **kwargs)(x)
    x = layers.ReLU()(dense(x) if dense else x)
    return keras.Model(inputs, x + inputs)


def digest_of(model):
    return freeze(model).digest


class DigestTest(LipschitzTestCase):
    def test_same_model_has_the_same_digest(self):
        digest = digest_of(make_model())
        self.assertRegex(digest, "^[0-9a-f]{64}$")
        # The names of the layers are others.
        self.assertEqual(digest_of(make_model()), digest)

    def test_saved_model_has_the_same_digest(self):
        model = make_model()
        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertEqual(digest_of(loaded), digest_of(model))

    def test_whatever_changes_the_function_changes_the_digest(self):
        model = make_model()
        digests = [
            digest_of(model),
            digest_of(make_model(3.0)),
            digest_of(make_model(use_bias=False)),
            digest_of(make_model(dtype="mixed_float16")),
            digest_of(make_model(dense=layers.Activation("tanh"))),
        ]
        inputs = keras.Input((4,))
        reversed_sum = keras.Model(inputs, inputs + model.layers[1](inputs))
        digests.append(digest_of(reversed_sum))
        # The last bit of a weight.
        bias = model.layers[2].bias
        values = keras.ops.convert_to_numpy(bias).copy()
        values.flat[0] = np.nextafter(values.flat[0], np.float32(9))
        bias.assign(values)
        digests.append(digest_of(model))
        self.assertLen(set(digests), 7)

    def test_values_have_the_digest_of_the_first_edition(self):
        state = hashlib.sha256()
        matrix = np.arange(6.0).reshape(2, 3)
        hash_value(state, (matrix, np.array(0.5), 1.5, (True, None)))
        self.assertEqual(
            state.hexdigest(),
            "01cf33eb460ef62b420e2b7673396e62f4bd51ef5bb62035945452a54bd0c124",
        )

    def test_arrays_have_one_digest_however_they_are_stored(self):
        # Larger than one part, and not a multiple of it.
        stored = self.rng.normal(size=(300, 701))
        for array in (stored.T, stored[::-1], stored[:, ::2], stored[:0].T):
            states = hashlib.sha256(), hashlib.sha256()
            hash_value(states[0], array)
            hash_value(states[1], array.copy())
            self.assertEqual(states[0].digest(), states[1].digest())
            others = hashlib.sha256()
            hash_value(others, array.T)
            self.assertNotEqual(states[0].digest(), others.digest())

    def test_shape_of_inputs_is_part_of_the_digest(self):
        digests = set()
        for shape in (4, 1), (1, 4), (4,):
            model = keras.Sequential([keras.Input(shape), layers.ReLU()])
            digests.add(digest_of(model))
        self.assertLen(digests, 3)

    def test_wiring_is_part_of_the_digest(self):
        inputs = keras.Input((4,))
        one, two = layers.ReLU()(inputs), layers.Activation("tanh")(inputs)
        there = keras.Model(inputs, layers.Subtract()([one, two]))
        back = keras.Model(inputs, layers.Subtract()([two, one]))
        self.assertNotEqual(digest_of(there), digest_of(back))

    def test_how_often_a_layer_is_applied_is_part_of_the_digest(self):
        first, second = layers.Activation("tanh"), layers.Activation("tanh")
        inputs = keras.Input((4,))
        once = keras.Model(inputs, first(inputs))
        shared = keras.Model(inputs, first(first(inputs)))
        separate = keras.Model(inputs, second(first(inputs)))
        self.assertNotEqual(digest_of(once), digest_of(shared))
        # What computes the same has the same digest.
        self.assertEqual(digest_of(shared), digest_of(separate))

    def test_training_changes_the_digest(self):
        model = make_model()
        before = digest_of(model)
        model.compile("sgd", "mse")
        self.assertEqual(digest_of(model), before)
        model.fit(np.eye(4), np.ones((4, 4)), verbose=0)
        self.assertNotEqual(digest_of(model), before)

    def test_nested_and_subclassed_models_have_one(self):
        class Outer(keras.Model):
            def __init__(self):
                super().__init__()
                self.inner = make_model()

            def call(self, inputs):
                return 2 * self.inner(inputs)

        model = Outer()
        model(np.zeros((1, 4)))
        before = digest_of(model)
        self.assertEqual(digest_of(model), before)
        weight = model.inner.layers[2].bias
        weight.assign(weight + 1)
        self.assertNotEqual(digest_of(model), before)

    def test_what_is_no_model_is_refused(self):
        with self.assertRaisesRegex(TypeError, "A `keras.Model` is expected"):
            digest_of(layers.ReLU())
