import subprocess
import sys

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy
from tests.models.lipschitz_model_test import MAKERS


class MaterializeTest(LipschitzTestCase):
    @parameterized.parameters(*MAKERS)
    def test_stock_model_computes_the_same_function(self, make):
        model = make()
        stock = models.materialize(model)
        x = self.normal(16, 6)
        self.assertAllClose(stock(x), model(x), atol=1e-5)
        proven = models.materialize(model, proven=True)
        # The estimate of the convex potential layer has converged to 1e-5.
        self.assertAllClose(proven(x), model(x), atol=1e-4)
        self.assertStock(stock)
        self.assertStock(proven)
        inputs = keras.Input((6,))
        functional = keras.Model(inputs, keras.layers.ReLU()(inputs))
        self.assertIs(type(stock), type(functional))

    def test_nested_and_shared_layers_are_written_out(self):
        inner = keras.Sequential(
            [keras.Input((6,)), layers.OrthogonalDense(6), layers.MaxMin()]
        )
        shared = layers.OrthogonalDense(6, parametrization="cayley")
        inputs = keras.Input((2, 3))
        x = keras.layers.Flatten()(inputs)
        x = keras.layers.Add()([inner(shared(x)), shared(x)])
        model = models.LipschitzModel(inputs, inner(x))
        stock = models.materialize(model)
        x = self.normal(5, 2, 3)
        self.assertAllClose(stock(x), model(x), atol=1e-5)
        self.assertStock(stock)
        # One kernel and bias for each of the four times that one is called.
        self.assertLen(stock.weights, 8)

    def test_model_of_branches_keeps_its_name_and_not_its_weights(self):
        shared = keras.layers.Dense(3, activation="tanh")
        inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
        inputs = keras.Input((3,))
        outputs = shared(inputs) - 0.5 * inner(shared(inputs + 1.0))
        model = keras.Model(inputs, outputs, name="original")
        stock = models.materialize(model)
        x = self.normal(5, 3)
        self.assertAllClose(stock(x), model(x), 1e-6, 1e-6)
        self.assertEqual(stock.name, "original")
        for weight in model.weights:
            weight.assign(np.zeros(weight.shape))
        self.assertGreater(np.abs(to_numpy(stock(x))).max(), 0.0)

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
