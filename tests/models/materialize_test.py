import subprocess
import sys

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase
from tests.models.lipschitz_model_test import MAKERS


class MaterializeTest(LipschitzTestCase):
    @parameterized.parameters(*MAKERS)
    def test_stock_model_computes_the_same_function(self, make):
        model = make()
        stock = models.materialize(model)
        x = self.normal(16, 6)
        # The estimate of the convex potential layer has converged to 1e-5.
        self.assertAllClose(stock(x), model(x), atol=1e-4)
        self.assertStock(stock)
        self.assertIs(type(stock), type(keras.Model(*_identity())))

    def test_nested_and_shared_layers_keep_their_structure(self):
        inner = keras.Sequential(
            [keras.Input((6,)), layers.OrthogonalDense(6), layers.MaxMin()]
        )
        shared = layers.OrthogonalDense(6, "cayley")
        inputs = keras.Input((2, 3))
        x = keras.layers.Flatten()(inputs)
        x = keras.layers.Add()([inner(shared(x)), shared(x)])
        model = models.LipschitzModel(inputs, inner(x))
        stock = models.materialize(model)
        x = self.normal(5, 2, 3)
        self.assertAllClose(stock(x), model(x), atol=1e-5)
        self.assertStock(stock)
        # One kernel and bias for each of the two dense layers.
        self.assertLen(stock.weights, 4)

    def test_stock_layers_keep_their_weights(self):
        model = keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.Normalization(mean=1.0, variance=4.0),
                keras.layers.BatchNormalization(),
                layers.OrthogonalDense(6),
                keras.layers.PReLU(alpha_initializer="ones"),
                keras.layers.Dropout(0.5),
            ]
        )
        model.layers[1].moving_mean.assign(self.normal(6))
        model.layers[1].moving_variance.assign(self.normal(6) ** 2)
        stock = models.materialize(model)
        x = self.normal(5, 6)
        self.assertAllClose(stock(x), model(x), atol=1e-5)

    def test_original_stays_as_it_is(self):
        model = MAKERS[0]()
        before = [w.copy() for w in model.get_weights()]
        stock = models.materialize(model)
        for layer in stock.layers:
            layer.set_weights([0 * w for w in layer.get_weights()])
        for old, new in zip(before, model.get_weights(), strict=True):
            self.assertAllClose(old, new, 0, 0)

    def test_stock_model_loads_without_this_library(self):
        model = MAKERS[0]()
        x = self.normal(4, 6)
        stock = models.materialize(model)
        path = self.temporary_path("stock.keras")
        stock.save(path)
        program = (
            "import sys, keras, numpy as np\n"
            "sys.modules['keras_lip'] = None\n"
            f"model = keras.models.load_model({str(path)!r})\n"
            f"np.save({str(path) + '.npy'!r}, model.predict("
            f"np.load({str(path) + '.x.npy'!r}), verbose=0))\n"
        )
        np.save(str(path) + ".x.npy", x)
        subprocess.run([sys.executable, "-c", program], check=True)
        self.assertAllClose(np.load(str(path) + ".npy"), stock(x), atol=1e-5)

    def test_what_is_no_built_model_is_refused(self):
        with self.assertRaisesRegex(TypeError, "A `keras.Model` is expected"):
            models.materialize(layers.MaxMin())
        with self.assertRaisesRegex(ValueError, "is not built"):
            models.materialize(models.LipschitzSequential([layers.MaxMin()]))


def _identity():
    inputs = keras.Input((1,))
    return inputs, inputs
