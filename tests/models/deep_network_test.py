import keras
import numpy as np
import pytest

from keras_lip import bounds
from keras_lip import layers
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

pytestmark = pytest.mark.slow


BLOCKS = 1000
WIDTH = 32
STEPS = 20

# The blocks are Euler steps of a flow over the time of one, so that the sum of
# what they do does not depend on their number. The gradient of a block's kernel
# is proportional to its step.
STEP = 1.0 / BLOCKS
LEARNING_RATE = 1.0 / STEP


class DeepNetworkTest(LipschitzTestCase):
    def make_model(self, blocks):
        return models.LipschitzSequential(
            [keras.Input((WIDTH,))]
            + [
                # A fixed step makes the cheapest block to trace and compile.
                layers.ConvexPotentialDense(WIDTH, step=STEP)
                for _ in range(blocks)
            ]
        )

    def test_a_thousand_blocks_train_without_normalization(self):
        block = layers.ConvexPotentialDense(WIDTH, step=STEP)
        model = models.LipschitzSequential(
            [keras.Input((WIDTH,)), layers.LayerStack(block, BLOCKS)]
        )
        x = self.normal(64, WIDTH)
        y = np.maximum(x, 0)
        model.compile(keras.optimizers.SGD(LEARNING_RATE), "mse")
        losses = []
        for step in range(STEPS):
            before = to_numpy(model.weights[0]).copy()
            losses.append(float(model.train_on_batch(x, y)))
            if step in (0, STEPS // 2, STEPS - 1):
                # A step of plain gradient descent is the gradient, but for a
                # factor.
                moved = to_numpy(model.weights[0]) - before
                norms = np.linalg.norm(moved, axis=(1, 2))
                self.assertBetween(norms[0] / norms[-1], 0.1, 10.0)
                self.assertGreater(norms.min(), 0)
        self.assertTrue(np.isfinite(losses).all())
        self.assertLess(losses[-1], losses[0] / 2)
        self.assertEqual(bounds.lipschitz_bound(model), 1.0)

    def test_a_sequential_model_of_a_thousand_layers_is_loaded(self):
        model = self.make_model(BLOCKS)
        path = self.temporary_path("model.keras")
        model.save(path)
        # Keras runs all layers once more for each that it adds.
        block = layers.ConvexPotentialDense
        infer, calls = block.compute_output_shape, []

        def count(self, input_shape):
            calls.append(self)
            return infer(self, input_shape)

        self.plant(block, "compute_output_shape", count)
        loaded = keras.models.load_model(path)
        self.assertLess(len(calls), 10 * BLOCKS)
        self.assertIsInstance(loaded, models.LipschitzSequential)
        for old, new in zip(model.weights, loaded.weights, strict=True):
            self.assertAllClose(new, old, 0, 0)

    def test_a_functional_model_may_be_as_deep(self):
        inputs = x = keras.Input((WIDTH,))
        for index in range(BLOCKS):
            # What counts is how many there are. Blocks of weights, of which a
            # few are between the others, take three times as long.
            block = layers.LipschitzScale(0.999)
            if index % 100 == 0:
                block = layers.ConvexPotentialDense(WIDTH, step=STEP)
            x = block(x)
        model = models.LipschitzModel(inputs, x)
        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertIsInstance(loaded, models.LipschitzModel)
        self.assertLen(loaded.layers, BLOCKS + 1)
        stock = models.materialize(loaded)
        x = self.normal(2, WIDTH)
        self.assertAllClose(stock(x), model(x), 1e-4)

    def test_loading_calls_each_layer_once(self):
        model = self.make_model(20)
        config = model.get_config()
        calls = []

        class Counted(layers.ConvexPotentialDense):
            def compute_output_shape(self, input_shape):
                calls.append(self.name)
                return super().compute_output_shape(input_shape)

            def call(self, inputs, training=False):
                calls.append(self.name)
                return super().call(inputs, training)

            def lipschitz_bound(self):
                return super().lipschitz_bound()

        for layer in config["layers"][1:]:
            layer.update(module=None, registered_name="Counted")
            layer["class_name"] = "Counted"
        loaded = models.LipschitzSequential.from_config(
            config, custom_objects={"Counted": Counted}
        )
        self.assertTrue(loaded.built)
        self.assertLen(loaded.layers, 20)
        self.assertIsInstance(loaded.layers[0], Counted)
        for name in {layer.name for layer in loaded.layers}:
            self.assertLessEqual(calls.count(name), 2)

    def test_configs_of_models_that_are_not_built(self):
        model = models.LipschitzSequential(
            [layers.ConvexPotentialDense(3), layers.MaxMin()], name="stack"
        )
        restored = models.LipschitzSequential.from_config(model.get_config())
        self.assertFalse(restored.built)
        self.assertEqual(restored.name, "stack")
        self.assertLen(restored.layers, 2)
        x = self.normal(4, 6)
        model(x)
        restored = models.LipschitzSequential.from_config(model.get_config())
        self.assertTrue(restored.built)
        self.assertEqual(restored.input_shape, model.input_shape)
        restored.set_weights(model.get_weights())
        self.assertAllClose(restored(x), model(x))
        empty = models.LipschitzSequential(name="empty")
        restored = models.LipschitzSequential.from_config(empty.get_config())
        self.assertEmpty(restored.layers)

    def test_a_layer_without_a_bound_is_refused_in_a_config(self):
        config = keras.Sequential(
            [keras.Input((4,)), keras.layers.LayerNormalization()]
        ).get_config()
        with self.assertRaisesRegex(ValueError, "No Lipschitz bound"):
            models.LipschitzSequential.from_config(config)
