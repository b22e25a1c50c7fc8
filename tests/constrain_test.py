import gc
import importlib
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import bounds
from keras_lip import layers
from keras_lip.autodiff import gradient
from keras_lip.constrain import constrain
from keras_lip.constrain import forget_functions
from tests.layers.every_layer import CASES
from tests.layers.scaled_cayley import ScaledCayley
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

# The function of this name hides the module.
module = importlib.import_module("keras_lip.constrain")


class ConstrainTest(LipschitzTestCase):
    def make(self, **kwargs):
        layer = layers.OrthogonalDense(3, **kwargs)
        layer.build((None, 3))
        layer.free_kernel.assign(self.normal(3, 3))
        return layer

    def count_functions(self, *made):
        """Returns how many functions compute the values of layers."""
        forget_functions()
        for layer in made:
            found = constrain(layer)
            self.assertAllClose(found, layer._constrain())
        return len(module._shared)

    def test_layers_of_one_config_share_a_function(self):
        if keras.backend.backend() != "jax":
            self.skipTest("Only JAX compiles every operation.")
        first, second = self.make(), self.make(name="other")
        self.assertEqual(self.count_functions(first, second, first), 1)
        other = self.make(parametrization="qr")
        self.assertEqual(self.count_functions(first, other), 2)
        rows = layers.OrthogonalDense(3)
        rows.build((None, 4))
        self.assertEqual(self.count_functions(first, rows), 2)

    def test_a_function_outlives_its_layer(self):
        first, second = self.make(), self.make()
        constrain(first)
        del first
        gc.collect()
        if keras.backend.backend() == "jax":
            import jax

            jax.clear_caches()
        self.assertAllClose(constrain(second), second._constrain())

    def test_new_weights_are_read(self):
        layer = self.make()
        before = to_numpy(constrain(layer))
        layer.free_kernel.assign(self.normal(3, 3))
        after = to_numpy(constrain(layer))
        self.assertGreater(np.abs(after - before).max(), 0.1)
        self.assertAllClose(after, layer._constrain())

    def test_gradients_pass(self):
        layer = self.make()
        x = ops.convert_to_tensor(self.normal(2, 3))

        def loss(free_kernel):
            outputs, _ = layer.stateless_call([free_kernel, layer.bias], [], x)
            return ops.sum(outputs**2 * ops.arange(3.0))

        free_kernel = to_numpy(layer.free_kernel)
        slope = gradient(loss, ops.convert_to_tensor(free_kernel))
        self.assertGreater(np.abs(to_numpy(slope)).max(), 1e-3)

    def test_few_functions_are_kept(self):
        with mock.patch.object(module, "_MOST_FUNCTIONS", 2):
            for units in range(1, 6):
                layer = layers.OrthogonalDense(units)
                layer.build((None, 3))
                constrain(layer)
        self.assertLessEqual(len(module._shared), 2)

    def test_parts_that_users_define_are_not_shared(self):
        norms = []
        for factor in (1.0, 3.0):
            layer = self.make(parametrization=ScaledCayley(factor))
            inputs = keras.Input((3,))
            model = keras.Model(inputs, layer(inputs))
            norms.append(bounds.lipschitz_bound(model))
            predicted = model.predict(np.eye(3), verbose=0)
            found = self.singular_values(predicted - to_numpy(layer.bias))
            self.assertAllClose(found, np.full(3, factor), 1e-5)
        self.assertAllClose(norms, [1.0, 3.0], 1e-5)

    @parameterized.parameters(*[n for n, c in CASES.items() if c.weighted])
    def test_layers_that_share_keep_their_own_weights(self, name):
        if keras.backend.backend() != "jax":
            self.skipTest("Only JAX compiles every operation.")
        case = CASES[name]
        shapes = [(None, *case.uneven)] * (2 if case.merges else 1)
        for _ in range(2):
            layer = case.make()
            layer.build(shapes if case.merges else shapes[0])
            for weight in layer.weights:
                weight.assign(self.normal(*weight.shape))
            expected = keras.tree.flatten(layer._constrain())
            found = keras.tree.flatten(constrain(layer))
            for one, other in zip(found, expected, strict=True):
                if one is not None:
                    self.assertAllClose(one, other, 1e-4, 1e-4)
