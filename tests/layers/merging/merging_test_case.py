"""The contract of layers that join branches."""

import keras
import numpy as np

from keras_lip import bounds
from keras_lip.models import materialize
from keras_lip.program import freeze
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class MergingTestCase(LipschitzTestCase):
    def merge(self, layer, *scales, shape=(3,)):
        """Returns a model that merges multiples of its input."""
        inputs = keras.Input(shape)
        branches = [keras.layers.Rescaling(scale)(inputs) for scale in scales]
        return keras.Model(inputs, layer(branches))

    def exact_norm(self, model):
        """Returns the norm of a linear model, from its explicit matrix."""
        shape = model.input_shape[1:]
        points = np.eye(int(np.prod(shape))).reshape(-1, *shape)
        outputs = to_numpy(model(points.astype("float32")))
        return self.singular_values(outputs.reshape(len(points), -1)).max()

    def run_merging_layer_test(self, layer_cls, init_kwargs, shape):
        layer = layer_cls(**init_kwargs)
        self.run_serialization_test(layer)
        model = self.merge(layer, 1.0, -1.0, 1.0, shape=shape)
        outputs = model.output_shape[1:]
        self.assertEqual(
            layer.compute_output_shape([(None, *shape)] * 3), (None, *outputs)
        )
        self._check_guarantee(layer, model, shape, 1.0)

        x, y = self.normal(8, *shape), self.normal(8, *outputs)
        if layer.trainable_weights:
            before = to_numpy(layer.trainable_weights[0]).copy()
            model.compile(keras.optimizers.SGD(10.0), loss="mse")
            model.fit(x, y, verbose=0)
            change = to_numpy(layer.trainable_weights[0]) - before
            self.assertGreater(np.abs(change).max(), 0)
        self._check_guarantee(layer, model, shape, 1.0)
        bound = bounds.lipschitz_bound(model)
        self.assertAlmostEqual(bound, layer.lipschitz_bound(), delta=1e-12)

        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertAllClose(loaded(x), model(x))
        self.assertEqual(bounds.lipschitz_bound(loaded), bound)

        self.assertAllClose(freeze(model).run(x), model(x), 1e-5)
        stock = materialize(model)
        self.assertStock(stock)
        stock.save(path)
        self.assertAllClose(keras.models.load_model(path)(x), model(x))
        self.assertAlmostEqual(bounds.lipschitz_bound(stock), bound, delta=1e-6)

        mixed = layer_cls(**init_kwargs, dtype="mixed_bfloat16")
        dtype = keras.backend.standardize_dtype(mixed([x, x]).dtype)
        self.assertEqual(dtype, "bfloat16")
        self.assertAlmostEqual(mixed.lipschitz_bound(), 1.0, delta=1e-2)
        for weight in mixed.trainable_weights:
            self.assertEqual(weight.dtype, "float32")
