import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import bounds
from keras_lip import layers
from keras_lip import models
from tests.layers.every_layer import CASES
from tests.lipschitz_test_case import LipschitzTestCase

ESTIMATED = [name for name, case in CASES.items() if case.estimated]


class MaterializeLayersTest(LipschitzTestCase):
    @parameterized.parameters(*CASES)
    def test_stock_form_computes_what_the_layer_does(self, name):
        case = CASES[name]
        shapes = [case.uneven] * (2 if case.merges else 1)
        inputs = [keras.Input(shape) for shape in shapes]
        layer = case.make()
        inputs = inputs if case.merges else inputs[0]
        model = keras.Model(inputs, layer(inputs))
        for weight in layer.trainable_weights:
            # Zeros, as of biases, would hide what is forgotten.
            weight.assign(weight + 0.1 * self.normal(*weight.shape))
        x = [self.normal(8, *shape) for shape in shapes]
        x = x if case.merges else x[0]
        expected = model(x)
        for proven in (False, True):
            stock = layer.to_keras_layer(proven)
            self.assertStock(stock)
            if not proven or not case.estimated:
                self.assertAllClose(stock(x), expected, atol=1e-5, rtol=1e-5)
            if not case.merges:
                copy = models.materialize(model, proven)
                self.assertStock(copy)
                self.assertAllClose(copy(x), stock(x), atol=1e-6, rtol=1e-6)

    @parameterized.parameters(*ESTIMATED)
    def test_proven_form_keeps_the_promised_bound(self, name):
        case = CASES[name]
        layer = case.make()
        model = keras.Sequential([keras.Input(case.uneven), layer])
        for weight in layer.weights:
            # Estimates start far from where they go.
            weight.assign(self.normal(*weight.shape))
        stock = models.materialize(model, proven=True)
        # Up to what float32 makes of a kernel that is divided by its norm.
        promised = case.promised
        self.assertLessEqual(
            bounds.lipschitz_bound(stock), promised * (1 + 1e-6)
        )
        self.assertLipschitz(stock, case.uneven, promised)

    def test_what_cannot_be_traced_is_refused(self):
        class Net(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = layers.OrthogonalDense(6)

            def call(self, inputs):
                # Needs numbers where there are but symbols.
                if np.all(ops.convert_to_numpy(inputs) > 0):
                    return self.dense(inputs)
                return inputs

        net = Net()
        net(np.ones((1, 6)))
        with self.assertRaisesRegex(
            ValueError, "type `Net` cannot be traced .* functional API"
        ):
            models.materialize(net)
