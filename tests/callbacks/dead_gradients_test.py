import keras
import numpy as np
from keras import ops

from keras_lip import layers
from keras_lip import losses
from keras_lip.callbacks.dead_gradients import dead_gradients
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class CallCounter(keras.layers.Layer):
    def build(self, input_shape):
        self.calls = self.add_weight(initializer="zeros", trainable=False)

    def call(self, inputs):
        self.calls.assign(self.calls + 1)
        return inputs


class DeadGradientsTest(LipschitzTestCase):
    def test_relu_deadens_what_is_negative(self):
        model = keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(6, name="dense"),
                keras.layers.ReLU(name="relu"),
                keras.layers.Dense(1, name="head"),
            ]
        )
        model.compile("sgd", "mse")
        x, y = self.normal(16, 4), self.normal(16, 1)
        dead = dead_gradients(model, x, y)
        inactive = np.mean(to_numpy(model.layers[0](x)) <= 0)
        self.assertBetween(inactive, 0.1, 0.9)
        expected = {"dense": inactive, "relu": 0.0, "head": 0.0}
        self.assertEqual(dead, expected)

    def test_gradient_preserving_networks_are_alive(self):
        model = keras.Sequential(
            [
                keras.Input((4,)),
                layers.OrthogonalDense(4, name="dense"),
                layers.MaxMin(name="maxmin"),
                layers.OrthogonalDense(2, name="head"),
            ]
        )
        model.compile("sgd", losses.TemperatureSparseCategoricalCrossentropy())
        dead = dead_gradients(model, self.normal(8, 4), np.array([0, 1] * 4))
        self.assertEqual(dead, {"dense": 0, "maxmin": 0, "head": 0})

    def test_samples_beyond_the_margin_are_dead_everywhere(self):
        model = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(1, name="head")]
        )
        model.layers[0].kernel.assign([[1.0]])
        model.compile("sgd", losses.HingeMargin(1.0))
        x = np.array([[2.0], [3.0], [0.5], [-4.0]], "float32")
        self.assertEqual(dead_gradients(model, x, np.ones(4)), {"head": 0.5})

    def test_calls_of_nested_and_shared_layers_count_together(self):
        # Along the shared layer's two calls 2 of 3 and 0 of 3 samples die.
        relu = keras.layers.ReLU(name="relu")
        inner = keras.Sequential([keras.Input((1,)), relu], name="inner")
        shared = keras.layers.Rescaling(-1.0, offset=1.0, name="shared")
        inputs = keras.Input((1,))
        model = keras.Model(inputs, shared(inner(shared(inputs))))
        model.compile("sgd", losses.HingeMargin(9.0))
        x = np.array([[2.0], [3.0], [0.5]], "float32")
        dead = dead_gradients(model, x, np.ones(3))
        self.assertAllClose(dead.pop("shared"), 2 / 6)
        self.assertEqual(dead, {"inner/relu": 0.0})

    def test_subclassed_models_and_operations_are_walked(self):
        class Net(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = keras.layers.Dense(5, name="dense")
                self.head = keras.layers.Dense(1, name="head")

            def call(self, inputs):
                return self.head(ops.relu(self.dense(inputs)))

        model = Net()
        x = self.normal(8, 3)
        inactive = np.mean(to_numpy(model.dense(x)) <= 0)
        model(x)
        model.compile("sgd", "mse")
        dead = dead_gradients(model, x, np.ones((8, 1)))
        self.assertEqual(dead, {"dense": inactive, "head": 0.0})

    def test_the_state_of_the_model_stays(self):
        model = keras.Sequential(
            [
                keras.Input((3,)),
                CallCounter(),
                keras.layers.BatchNormalization(),
                keras.layers.Dropout(0.5),
                keras.layers.Dense(1, activity_regularizer="l2"),
            ]
        )
        model.compile("sgd", "mse", metrics=["mae"])
        before = [to_numpy(v).copy() for v in model.variables]
        dead_gradients(model, self.normal(4, 3), np.ones((4, 1)))
        for old, variable in zip(before, model.variables, strict=True):
            self.assertAllClose(variable, old)
        # Training goes on, where a leaked tracer would stop it.
        model.fit(self.normal(4, 3), np.ones((4, 1)), verbose=0)

    def test_several_outputs_are_refused(self):
        inputs = keras.Input((3,))
        dense = keras.layers.Dense(1)
        model = keras.Model(inputs, [dense(inputs), dense(inputs)])
        with self.assertRaisesRegex(ValueError, "1 inputs, 2 outputs"):
            dead_gradients(model, np.ones((2, 3)), np.ones(2))
