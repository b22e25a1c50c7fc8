import gc
from unittest import mock

import keras
import numpy as np
from keras import ops

from keras_lip import compiled
from keras_lip import layers
from keras_lip.autodiff import gradient
from keras_lip.compiled import compile_reading
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class CompileReadingTest(LipschitzTestCase):
    def test_every_call_reads_the_values_of_now(self):
        first, second = keras.Variable(1.0), keras.Variable(np.ones(3))
        run = compile_reading(
            lambda: {"sum": ops.add(first, second), "first": first * 2},
            [first, second],
        )
        for value in (1.0, 5.0):
            first.assign(value)
            found = run()
            self.assertAllClose(found["sum"], np.full(3, value + 1))
            self.assertAllClose(found["first"], 2 * value)


class ConstrainTest(LipschitzTestCase):
    def make(self, **kwargs):
        layer = layers.OrthogonalDense(3, **kwargs)
        layer.build((None, 3))
        layer.free_kernel.assign(self.normal(3, 3))
        return layer

    def count_functions(self, *made):
        """Returns how many functions compute the values of layers."""
        compiled.forget_functions()
        for layer in made:
            found = compiled.constrain(layer)
            self.assertAllClose(found, layer._constrain())
        return len(compiled._shared)

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
        compiled.constrain(first)
        del first
        gc.collect()
        if keras.backend.backend() == "jax":
            import jax

            jax.clear_caches()
        self.assertAllClose(compiled.constrain(second), second._constrain())

    def test_new_weights_are_read(self):
        layer = self.make()
        before = to_numpy(compiled.constrain(layer))
        layer.free_kernel.assign(self.normal(3, 3))
        after = to_numpy(compiled.constrain(layer))
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
        with mock.patch.object(compiled, "_MOST_FUNCTIONS", 2):
            for units in range(1, 6):
                layer = layers.OrthogonalDense(units)
                layer.build((None, 3))
                compiled.constrain(layer)
        self.assertLessEqual(len(compiled._shared), 2)
