import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip import models
from tests.layers.every_layer import EVERY_LAYER
from tests.layers.every_layer import MERGING
from tests.layers.every_layer import connect
from tests.lipschitz_test_case import LipschitzTestCase

IN_SEQUENCE = sorted(set(EVERY_LAYER) - set(MERGING))


class SavedFilesTest(LipschitzTestCase):
    @parameterized.parameters(*IN_SEQUENCE)
    def test_a_sequential_model_of_every_layer_loads_from_h5(self, name):
        make, shape = EVERY_LAYER[name]
        model = models.LipschitzSequential([keras.Input(shape), make()])
        self.assertLoads(model, shape)

    @parameterized.parameters("OrthogonalDense", *MERGING)
    def test_a_functional_model_loads_from_h5(self, name):
        make, shape = EVERY_LAYER[name]
        inputs = keras.Input(shape)
        outputs = connect(name, make(), inputs)
        self.assertLoads(models.LipschitzModel(inputs, outputs), shape)

    def test_models_in_models_load_from_h5(self):
        inner = models.LipschitzSequential([layers.OrthogonalDense(4)])
        inputs = keras.Input((4,))
        inner = models.LipschitzModel(inputs, layers.MaxMin()(inner(inputs)))
        outer = models.LipschitzSequential(
            [keras.Input((4,)), inner, layers.UnitNormDense(3)]
        )
        loaded = self.assertLoads(outer, (4,))
        self.assertIsInstance(loaded.layers[0], models.LipschitzModel)

    def test_custom_objects_are_passed_on_to_h5(self):
        def init(shape, dtype=None):
            return np.eye(*shape, dtype=dtype)

        dense = layers.OrthogonalDense(4, kernel_initializer=init)
        model = models.LipschitzSequential([keras.Input((4,)), dense])
        self.assertLoads(model, (4,), custom_objects={"init": init})

    def assertLoads(self, model, shape, **kwargs):
        path = self.temporary_path("model.h5")
        # Weights that no new model starts with.
        model.set_weights([w + 0.1 for w in model.get_weights()])
        model.save(path)
        loaded = keras.models.load_model(path, **kwargs)
        self.assertIs(type(loaded), type(model))
        for actual, desired in zip(
            loaded.get_weights(), model.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(actual, desired)
        x = self.normal(2, *shape)
        self.assertAllClose(loaded(x), model(x), 0, 0)
        return loaded
