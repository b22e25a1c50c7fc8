import keras
import numpy as np
from keras import layers

from keras_lip.bounds.common_norm import common_norm
from tests.lipschitz_test_case import LipschitzTestCase


class FindNormTest(LipschitzTestCase):
    def test_layers_are_checked_before_they_are_built(self):
        common_norm(layers.Dense(3))
        with self.assertRaisesRegex(ValueError, "`LayerNormalization`"):
            common_norm(layers.LayerNormalization())

    def test_weights_are_not_looked_at(self):
        layer = layers.Dense(3, kernel_initializer=self._refuse_to_build)
        common_norm(layer)
        layer = layers.Dense(2, kernel_initializer="ones")
        model = keras.Sequential([keras.Input((2,)), layer])
        layer.set_weights([np.full((2, 2), np.nan), np.zeros(2)])
        common_norm(model)

    def test_layers_of_a_model_are_checked_at_any_depth(self):
        bad = layers.LayerNormalization(name="s")
        inner = keras.Sequential([keras.Input((2,)), bad])
        outer = keras.Sequential([keras.Input((2,)), layers.ReLU(), inner])
        for model in inner, outer:
            with self.assertRaisesRegex(ValueError, "layer 's' of type"):
                common_norm(model)

    def test_layers_of_a_model_that_is_not_built_are_checked(self):
        bad = layers.LayerNormalization(name="s")
        inner = keras.Sequential([layers.Dense(2), bad])
        for model in inner, keras.Sequential([layers.ReLU(), inner]):
            self.assertFalse(model.built)
            with self.assertRaisesRegex(ValueError, "layer 's' of type"):
                common_norm(model)
        common_norm(keras.Sequential([layers.Dense(2), layers.ReLU()]))

    def test_operations_of_a_model_are_checked(self):
        inputs = keras.Input((2,))
        common_norm(keras.Model(inputs, inputs + 1))
        with self.assertRaisesRegex(ValueError, "an operation of `keras.ops`"):
            common_norm(keras.Model(inputs, keras.ops.exp(inputs)))

    def _refuse_to_build(self, shape, dtype=None):
        raise AssertionError("The layer must not be built.")
