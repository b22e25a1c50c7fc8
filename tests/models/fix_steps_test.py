import collections
from unittest import mock

import keras
import numpy as np

from keras_lip.bounds import lipschitz_bound
from keras_lip.constrain import forget_functions
from keras_lip.layers import ConvexPotentialConv2D
from keras_lip.layers import ConvexPotentialDense
from keras_lip.layers import ConvexPotentialExpansion
from keras_lip.layers import LayerStack
from keras_lip.layers import MaxMin
from keras_lip.layers import SkewFlowConv2D
from keras_lip.layers import SkewFlowDense
from keras_lip.layers import UnitNormDense
from keras_lip.layers.residual import convex_potential_conv2d
from keras_lip.layers.residual import convex_potential_dense
from keras_lip.models import LipschitzModel
from keras_lip.models import LipschitzSequential
from keras_lip.models import fix_steps
from keras_lip.models import materialize
from keras_lip.program.nodes import convolution
from keras_lip.program.nodes import dense
from keras_lip.program.proof_cache import forget_proofs
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.block = ConvexPotentialDense(2)

    def call(self, inputs):
        return self.block(inputs)


class FixStepsTest(LipschitzTestCase):
    def make_model(self):
        """A model whose estimates are far off."""
        inner = LipschitzSequential(
            [
                keras.Input((6, 6, 2)),
                ConvexPotentialConv2D(3, 3),
                keras.layers.Flatten(),
                ConvexPotentialDense(4, step=0.25),
                ConvexPotentialDense(4),
            ]
        )
        inputs = keras.Input((6, 6, 2))
        model = LipschitzModel(inputs, UnitNormDense(2)(inner(inputs)))
        dense = inner.layers[-1]
        kernel = np.zeros((72, 4), "float32")
        kernel[:2, :2] = np.diag([2.0, 1.0])
        dense.kernel.assign(kernel)
        dense.power_iteration_vector.assign(np.eye(72)[1:2])
        return model

    def test_steps_are_estimated_and_proven_once(self):
        model = self.make_model()
        calls = collections.Counter()

        def count(module, name):
            function = getattr(module, name)

            def counted(*args, **kwargs):
                calls[name] += 1
                return function(*args, **kwargs)

            self.enter_context(mock.patch.object(module, name, counted))

        # Each block but the one whose step is given.
        for module in (convex_potential_conv2d, convex_potential_dense):
            count(module, "estimate_step")
        forget_functions()
        forget_proofs()
        count(convolution, "convolution_norm_bound")
        count(dense, "spectral_norm_bound")
        fix_steps(model)
        self.assertEqual(
            calls,
            {
                "estimate_step": 2,
                "convolution_norm_bound": 1,
                "spectral_norm_bound": 1,
            },
        )

    def test_bound_is_that_of_the_head_and_function_nearly_the_same(self):
        model = self.make_model()
        head = model.layers[-1].lipschitz_bound()
        self.assertGreater(lipschitz_bound(model), 6 * head)
        fixed = fix_steps(model)
        self.assertIs(type(fixed), type(model))
        self.assertAllClose(lipschitz_bound(fixed) / head, 1.0, 1e-5)
        conv, _, given, dense = fixed.layers[1].layers
        self.assertEqual(given.step, 0.25)
        self.assertAllClose(dense.step, 2 / 2.0**2, 1e-5)
        x = self.normal(3, 6, 6, 2)
        # The stock form holds the same steps.
        self.assertAllClose(fixed(x), materialize(model, proven=True)(x), 1e-5)
        self.assertEqual(
            to_numpy(conv.kernel).tolist(),
            to_numpy(model.layers[1].layers[0].kernel).tolist(),
        )
        # The original is left as it is.
        self.assertIsNone(model.layers[1].layers[0].step)

    def test_fractions_of_steps_become_steps(self):
        model = LipschitzSequential(
            [
                keras.Input((5, 5, 2)),
                ConvexPotentialConv2D(3, 3, step_fraction=0.5),
                SkewFlowConv2D(3, 3, step_fraction=0.5),
                keras.layers.Flatten(),
                ConvexPotentialDense(3, step_fraction=0.5),
                SkewFlowDense(3, step_fraction=0.5),
            ]
        )
        fixed = fix_steps(model)
        x = self.normal(3, 5, 5, 2)
        # Half of a step is proven as it is.
        self.assertAllClose(fixed(x), model(x), 1e-5)
        for new, old in zip(fixed.layers, model.layers, strict=True):
            if hasattr(old, "_fix_config") and old.trainable_weights:
                self.assertEqual(new.get_config()["step_fraction"], 1.0)
                self.assertIsNotNone(new.get_config()["step"])
                self.assertEqual(old.get_config()["step_fraction"], 0.5)
        clone = type(fixed).from_config(fixed.get_config())
        clone.set_weights(fixed.get_weights())
        self.assertAllClose(clone(x), fixed(x), 1e-6)

    def test_blocks_of_one_name_keep_steps_of_their_own(self):
        inputs = outputs = keras.Input((4,))
        for scale in (1.0, 2.0):
            block = ConvexPotentialDense(4, name="block")
            inner = LipschitzSequential([keras.Input((4,)), block])
            block.kernel.assign(scale * np.eye(4))
            outputs = inner(outputs)
        fixed = fix_steps(LipschitzModel(inputs, outputs))
        steps = [inner.layers[0].step for inner in fixed.layers[1:]]
        self.assertAllClose(steps, [2.0, 0.5], 1e-5)

    def test_each_block_of_a_stack_gets_its_own_step(self):
        stack = LayerStack([ConvexPotentialDense(4), MaxMin()], depth=2)
        model = LipschitzSequential([keras.Input((4,)), stack])
        kernel, _, vector = stack.weights
        kernel.assign(
            np.stack([np.diag([2.0, 1, 1, 1]), np.diag([1.0, 1, 1, 0.5])])
        )
        # The first block has a step that is four times too long.
        vector.assign(np.eye(4)[[1, 2]][:, None])
        self.assertAllClose(lipschitz_bound(model), 7.0, 1e-5)
        fixed = fix_steps(model)
        self.assertEqual(lipschitz_bound(fixed), 1.0)
        steps = [
            to_numpy(block.layers[0].fixed_step).copy()
            for block in fixed.layers[0].blocks()
        ]
        self.assertAllClose(steps, [0.5, 2.0], 1e-5)
        x = self.normal(3, 4)
        self.assertAllClose(fixed(x), materialize(model, proven=True)(x), 1e-5)
        # It still is when it is saved: a configuration has one step for all.
        path = self.temporary_path("model.keras")
        fixed.save(path)
        self.assertAllClose(keras.models.load_model(path)(x), fixed(x), 0, 0)

    def test_blocks_of_kernels_of_zero_get_a_step(self):
        zeros = {"kernel_initializer": "zeros", "bias_initializer": "ones"}
        expansion = ConvexPotentialExpansion(
            [ConvexPotentialDense(3, **zeros), ConvexPotentialDense(2, **zeros)]
        )
        model = LipschitzSequential(
            [
                keras.Input((4, 4, 2)),
                ConvexPotentialConv2D(3, 3, **zeros),
                SkewFlowConv2D(3, 3, **zeros),
                keras.layers.Flatten(),
                LayerStack(ConvexPotentialDense(3, **zeros), depth=2),
                SkewFlowDense(3, **zeros),
                expansion,
            ]
        )
        fixed = fix_steps(model)
        self.assertAllClose(fixed.layers[0].step, 200.0)
        self.assertAlmostEqual(lipschitz_bound(fixed), 1.0, delta=1e-4)
        x = self.normal(3, 4, 4, 2)
        self.assertAllClose(fixed(x), model(x))
        self.assertAllClose(fixed(x), materialize(model, proven=True)(x), 1e-5)

    def test_flows_in_a_stack_get_steps(self):
        stack = LayerStack(
            [SkewFlowDense(3), keras.layers.ReLU(), ConvexPotentialDense(3)],
            depth=2,
        )
        model = LipschitzSequential([keras.Input((4,)), stack])
        fixed = fix_steps(model)
        for block in fixed.layers[0].blocks():
            flow, _, last = block.layers
            for layer in (flow.potential, last):
                self.assertIsNotNone(layer.step)
                self.assertLessEqual(layer.lipschitz_bound(), 1 + 1e-6)
        x = self.normal(3, 4)
        self.assertAllClose(fixed(x), materialize(model, proven=True)(x), 1e-5)

    def test_layers_without_a_step_are_copied_as_they_are(self):
        head = UnitNormDense(3)
        model = LipschitzSequential([keras.Input((4,)), head])
        self.assertIsNone(head._proven_step())
        self.assertEqual(head._fix_config(head.get_config()), head.get_config())
        fixed = fix_steps(model)
        for new, old in zip(fixed.weights, model.weights, strict=True):
            self.assertAllClose(new, old, 0, 0)

    def test_copy_is_saved_and_loaded(self):
        fixed = fix_steps(self.make_model())
        path = self.temporary_path("model.keras")
        fixed.save(path)
        loaded = keras.models.load_model(path)
        x = self.normal(3, 6, 6, 2)
        self.assertAllClose(loaded(x), fixed(x), 1e-6)
        self.assertEqual(lipschitz_bound(loaded), lipschitz_bound(fixed))

    def test_anything_but_a_built_model_is_refused(self):
        with self.assertRaisesRegex(TypeError, "A `keras.Model` is expected"):
            fix_steps(ConvexPotentialDense(2))
        subclassed = Subclassed()
        subclassed(np.ones((1, 4)))
        with self.assertRaisesRegex(ValueError, "functional or sequential"):
            fix_steps(subclassed)
        with self.assertRaisesRegex(ValueError, "is not built"):
            fix_steps(LipschitzSequential([ConvexPotentialDense(2)]))
