import keras
import numpy as np
from keras import layers

import keras_lip as kl
from keras_lip.certificates.fingerprint import fingerprint
from tests.lipschitz_test_case import LipschitzTestCase


def make_model(factor=2.0, dense=None, **kwargs):
    inputs = keras.Input((4,))
    x = layers.Rescaling(factor)(inputs)
    x = kl.layers.LipschitzDense(4, kernel_initializer="ones", **kwargs)(x)
    x = layers.ReLU()(dense(x) if dense else x)
    return keras.Model(inputs, x + inputs)


class FingerprintTest(LipschitzTestCase):
    def test_same_model_has_the_same_digest(self):
        digest = fingerprint(make_model())
        self.assertRegex(digest, "^[0-9a-f]{64}$")
        # The names of the layers are others.
        self.assertEqual(fingerprint(make_model()), digest)

    def test_saved_model_has_the_same_digest(self):
        model = make_model()
        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertEqual(fingerprint(loaded), fingerprint(model))

    def test_whatever_changes_the_function_changes_the_digest(self):
        model = make_model()
        digests = [
            fingerprint(model),
            fingerprint(make_model(3.0)),
            fingerprint(make_model(parametrization="aol")),
            fingerprint(make_model(use_bias=False)),
            fingerprint(make_model(dtype="float16")),
        ]
        inputs = keras.Input((4,))
        reversed_sum = keras.Model(inputs, inputs + model.layers[1](inputs))
        digests.append(fingerprint(reversed_sum))
        # The last bit of a weight, and a state that no gradient moves.
        for weight in model.layers[2].weights[1:]:
            values = keras.ops.convert_to_numpy(weight).copy()
            values.flat[0] = np.nextafter(values.flat[0], np.float32(9))
            weight.assign(values)
            digests.append(fingerprint(model))
        self.assertLen(model.layers[2].weights, 3)
        self.assertLen(set(digests), 8)

    def test_shared_layer_differs_from_two_alike(self):
        first, second = layers.ReLU(), layers.ReLU()
        inputs = keras.Input((4,))
        shared = keras.Model(inputs, first(first(inputs)))
        separate = keras.Model(inputs, second(layers.ReLU()(inputs)))
        self.assertNotEqual(fingerprint(shared), fingerprint(separate))

    def test_training_changes_the_digest(self):
        model = make_model()
        before = fingerprint(model)
        model.compile("sgd", "mse")
        self.assertEqual(fingerprint(model), before)
        model.fit(np.eye(4), np.ones((4, 4)), verbose=0)
        self.assertNotEqual(fingerprint(model), before)

    def test_nested_and_subclassed_models_have_one(self):
        class Outer(keras.Model):
            def __init__(self):
                super().__init__()
                self.inner = make_model()

            def call(self, inputs):
                return 2 * self.inner(inputs)

        model = Outer()
        model(np.zeros((1, 4)))
        before = fingerprint(model)
        self.assertEqual(fingerprint(model), before)
        weight = model.inner.weights[0]
        weight.assign(weight + 1)
        self.assertNotEqual(fingerprint(model), before)

    def test_what_is_no_model_is_refused(self):
        with self.assertRaisesRegex(TypeError, "A `keras.Model` is expected"):
            fingerprint(layers.ReLU())
