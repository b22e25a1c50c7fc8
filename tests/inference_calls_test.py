"""Bounds are of the function that `predict` runs."""

import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

import keras_lip
from keras_lip import certificates
from keras_lip.bounds import lipschitz_bound
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def contrast():
    # Its `training` is `True` by default.
    return layers.RandomContrast(0.9, value_range=(0, 1), seed=1)


class Untold(keras.Model):
    """A model whose `call` takes no `training`."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def call(self, inputs):
        return self.part(inputs)


class Told(Untold):
    def call(self, inputs, training=None):
        return self.part(inputs)


class PassesOn(Untold):
    def call(self, inputs, training=None):
        return self.part(inputs, training=training)


class TurnsOff(Untold):
    def call(self, inputs):
        return self.part(inputs, training=False)


class TurnsOn(Untold):
    def call(self, inputs, training=None):
        return self.part(inputs, training=True)


class Container(keras.layers.Layer):
    """A layer with a bound that holds at inference."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def call(self, inputs):
        return self.part(inputs)

    def lipschitz_bound(self):
        return 1.0


def functional():
    inputs = keras.Input((4, 4, 3))
    return keras.Model(inputs, contrast()(inputs))


PARTS = {
    "layer": contrast,
    "functional": functional,
    "sequential": lambda: keras.Sequential(
        [keras.Input((4, 4, 3)), contrast()]
    ),
    "untold": lambda: Untold(contrast()),
    "told": lambda: Told(contrast()),
    "container": lambda: Container(contrast()),
}


class InferenceCallsTest(LipschitzTestCase):
    def images(self):
        return self.rng.uniform(size=(16, 4, 4, 3)).astype("float32")

    @parameterized.product(
        outer=(Untold, Told, PassesOn, TurnsOff, TurnsOn), part=tuple(PARTS)
    )
    def test_bound_is_of_what_predict_runs(self, outer, part):
        model, x = outer(PARTS[part]()), self.images()
        model(x)
        changes = not np.array_equal(
            model.predict(x, verbose=0), model.predict(x, verbose=0)
        )
        # On JAX, layers of `Told` do not inherit its argument in `predict`.
        if outer in (Untold, TurnsOn):
            self.assertTrue(changes)
        if outer in (PassesOn, TurnsOff):
            self.assertFalse(changes)
        if changes:
            with self.assertRaisesRegex(ValueError, "`training=True`"):
                lipschitz_bound(model)
        else:
            self.assertEqual(lipschitz_bound(model), 1.0)

    def test_untold_model_is_told_by_the_model_around_it(self):
        inner = Untold(contrast())
        inputs = keras.Input((4, 4, 3))
        model = keras.Model(inputs, inner(inputs))
        x = self.images()
        if np.array_equal(model.predict(x, verbose=0), x):
            self.assertEqual(lipschitz_bound(model), 1.0)
        else:
            # On JAX, the layer of a functional model inherits nothing.
            self.assertEqual(keras.backend.backend(), "jax")
            with self.assertRaisesRegex(ValueError, "`training=True`"):
                lipschitz_bound(model)
        with self.assertRaisesRegex(ValueError, "`training=True`"):
            lipschitz_bound(inner)

    def test_untold_model_without_augmentation_is_bounded(self):
        model = Untold(keras_lip.layers.MaxMin())
        model(np.zeros((1, 4)))
        self.assertEqual(lipschitz_bound(model), 1.0)

    def test_reading_leaves_the_context_of_calls(self):
        class Reads(keras.Model):
            """Reads a bound within a call."""

            def __init__(self, other):
                super().__init__()
                self.other, self.contrast = other, contrast()

            def call(self, inputs, training=None):
                lipschitz_bound(self.other)
                return self.contrast(inputs)

        other = functional()
        model, x = Reads(other), self.images()
        self.assertAllClose(model(x, training=False), x)
        changed = to_numpy(model(x, training=True))
        self.assertGreater(np.abs(changed - x).max(), 0.01)

    def test_shape_other_than_the_built_one_is_refused(self):
        model = Untold(keras_lip.layers.MaxMin())
        model(np.zeros((1, 4)))
        certificates.audit(model, input_shape=(4,))
        with self.assertRaisesRegex(ValueError, "`input_shape` that fits"):
            certificates.audit(model, input_shape=(6,))
