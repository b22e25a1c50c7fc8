"""What tests of the bounds of whole models start from."""

import keras
from keras import layers

from keras_lip.bounds import lipschitz_bound
from tests.lipschitz_test_case import LipschitzTestCase


def scale(factor, **kwargs):
    return layers.Rescaling(factor, **kwargs)


class Block(keras.Model):
    """A subclassed model, whose `call` is traced."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale(3.0)
        self.dropout = layers.Dropout(0.5)

    def call(self, inputs, training=None):
        return inputs + self.dropout(self.scale(inputs), training=training)


class ModelBoundTestCase(LipschitzTestCase):
    def model(self, function, shape=(3,), **kwargs):
        inputs = keras.Input(shape, **kwargs)
        return keras.Model(inputs, function(inputs))

    def assertBound(self, model, expected, shape=(3,)):
        bound = lipschitz_bound(model)
        self.assertIs(type(bound), float)
        self.assertAlmostEqual(bound, expected, delta=1e-9 * expected)
        self.assertLipschitz(model, shape, bound)
