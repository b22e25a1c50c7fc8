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
from keras_lip.constrain import constrain_again
from keras_lip.constrain import forget_functions
from keras_lip.precision import full_precision_scope
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


class ConstrainAgainTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        forget_functions()
        self.layer = layers.ConvexPotentialDense(3)
        self.layer.build((None, 3))
        self.layer.kernel.assign(self.normal(3, 3))
        self.calls = 0
        self.watch(layers.ConvexPotentialDense)

    def watch(self, kind):
        compute = kind._constrain

        def count(layer):
            self.calls += 1
            return compute(layer)

        self.plant(kind, "_constrain", count)

    def check(self, calls, layer=None):
        """Tests the result, and how often it has been computed."""
        layer = layer or self.layer
        with full_precision_scope():
            found = constrain_again(layer)
        if keras.backend.backend() != "jax":
            self.assertEqual(self.calls, calls)
        kept = module._latest.get(layer)
        self.assertEqual(kept is not None, calls > 0)
        before, self.calls = self.calls, -1
        self.assertAllClose(found, layer._constrain(), 1e-6)
        self.calls = before
        return found

    def test_it_is_computed_once_for_the_same_bits(self):
        first = self.check(1)
        self.layer.kernel.assign(to_numpy(self.layer.kernel) + 0.0)
        self.assertIs(self.check(1), first)

    def test_a_changed_bit_is_seen(self):
        self.check(1)
        kernel = to_numpy(self.layer.kernel).copy()
        kernel[1, 2] = np.nextafter(kernel[1, 2], np.float32(9))
        self.layer.kernel.assign(kernel)
        self.check(2)
        self.layer.power_iteration_vector.assign(self.normal(1, 3))
        self.check(3)

    def test_a_changed_config_is_seen(self):
        before = to_numpy(self.check(1))
        self.layer.step_fraction = 0.25
        after = to_numpy(self.check(2))
        self.assertAllClose(4 * after, before, 1e-5)

    def test_weights_that_change_in_place_are_seen(self):
        if keras.backend.backend() != "torch":
            self.skipTest("Only PyTorch's weights change in place.")
        import torch

        self.check(1)
        with torch.no_grad():
            self.layer.kernel.value.mul_(2)
        self.check(2)

    def test_nothing_is_kept_in_reduced_precision(self):
        for _ in range(2):
            constrain_again(self.layer)
        self.assertNotIn(self.layer, module._latest)

    def test_a_scope_of_other_weights_is_seen(self):
        self.check(1)
        other = ops.convert_to_tensor(self.normal(3, 3))
        with (
            full_precision_scope(),
            keras.StatelessScope([(self.layer.kernel, other)]),
        ):
            found = constrain_again(self.layer)
            self.assertAllClose(found, self.layer._constrain(), 1e-6)
        self.calls = 1
        self.layer.kernel.assign(other)
        self.assertAllClose(self.check(1), found)

    def test_nothing_is_kept_of_parts_that_users_define(self):
        norms = []
        for factor in (1.0, 3.0):
            parametrization = ScaledCayley(factor)
            layer = layers.OrthogonalDense(3, parametrization=parametrization)
            layer.build((None, 3))
            with full_precision_scope():
                for factor_now in (factor, 5.0):
                    parametrization.factor = factor_now
                    found = to_numpy(constrain_again(layer))
                    norms.append(np.linalg.norm(found, 2))
            self.assertNotIn(layer, module._latest)
        self.assertAllClose(norms, [1.0, 5.0, 3.0, 5.0], 1e-5)

    def test_results_are_dropped_with_their_layer(self):
        layer = layers.OrthogonalDense(3)
        layer.build((None, 3))
        with full_precision_scope():
            constrain_again(layer)
        self.assertEqual(len(module._latest), 1)
        del layer
        gc.collect()
        self.assertEqual(len(module._latest), 0)

    def test_a_trace_keeps_nothing(self):
        if keras.backend.backend() == "torch":
            self.skipTest("PyTorch traces nothing.")

        def run():
            with full_precision_scope():
                return constrain_again(self.layer)

        if keras.backend.backend() == "jax":
            import jax

            found = jax.jit(run)()
        else:
            import tensorflow as tf

            found = tf.function(run)()
        self.assertNotIn(self.layer, module._latest)
        self.assertAllClose(found, self.layer._constrain(), 1e-6)

    def test_shapes_are_inferred_from_no_values(self):
        inputs = keras.KerasTensor((2, 3))
        with full_precision_scope():
            function = keras.Function(inputs, self.layer(inputs))
        self.assertEqual(function.outputs[0].shape, (2, 3))
        self.assertNotIn(self.layer, module._latest)
