import keras

from keras_lip.model_layers import named_layers
from tests.lipschitz_test_case import LipschitzTestCase


class NamedLayersTest(LipschitzTestCase):
    def test_layers_of_nested_models_come_once_with_their_path(self):
        shared = keras.layers.Dense(3, name="shared")
        inner = keras.Sequential([keras.Input((3,)), shared], name="inner")
        middle = keras.Sequential([inner, keras.layers.ReLU(name="relu")])
        middle.name = "middle"
        inputs = keras.Input((3,), name="start")
        model = keras.Model(inputs, shared(middle(shared(inputs))))
        names = [name for name, _ in named_layers(model)]
        self.assertCountEqual(names, ["start", "shared", "middle/relu"])

    def test_frozen_layers_and_models_are_left_out(self):
        dense = [keras.layers.Dense(3, name=name) for name in "abc"]
        inner = keras.Sequential([dense[0]], name="inner")
        model = keras.Sequential([keras.Input((3,)), inner, *dense[1:]])
        inner.trainable = dense[1].trainable = False
        dense[0].trainable = True

        def names():
            return [name for name, _ in named_layers(model, True)]

        self.assertEqual(names(), ["c"])
        model.trainable = False
        self.assertEqual(names(), [])

    def test_layers_of_a_subclassed_model_are_found(self):
        class Net(keras.Model):
            def __init__(self):
                super().__init__()
                self.blocks = [
                    keras.layers.Dense(2, name=f"b{i}") for i in "12"
                ]

        self.assertEqual([n for n, _ in named_layers(Net())], ["b1", "b2"])
