import keras
import numpy as np
from keras import layers
from keras import ops

from keras_lip.graph import get_operation
from keras_lip.layers.rebuild_model import copy_layer
from keras_lip.layers.rebuild_model import rebuild_model
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class CopyLayerTest(LipschitzTestCase):
    def test_copy_has_the_weights_of_the_layer(self):
        layer = layers.Dense(3)
        inputs = keras.Input((4,))
        layer(inputs)
        copy = copy_layer(layer, (inputs,))
        x = self.normal(5, 4)
        self.assertAllClose(copy(x), layer(x), 0, 0)
        copy.set_weights([2 * weight for weight in copy.get_weights()])
        self.assertNotAlmostEqual(
            float(to_numpy(copy.kernel)[0, 0]),
            float(to_numpy(layer.kernel)[0, 0]),
        )

    def test_copy_computes_with_the_lora_weights_of_the_layer(self):
        for layer, shape in (
            (layers.Dense(3), (4,)),
            (layers.Conv1D(3, 2), (5, 4)),
        ):
            inputs = keras.Input(shape)
            layer(inputs)
            layer.enable_lora(2, lora_alpha=6)
            layer.lora_kernel_b.assign(self.normal(2, 3))
            copy = copy_layer(layer, (inputs,))
            x = self.normal(5, *shape)
            self.assertAllClose(copy(x), layer(x), 1e-6, 1e-6)

    def test_copy_of_an_adapted_normalization_is_adapted(self):
        layer = layers.Normalization()
        layer.adapt(self.normal(8, 3, scale=5.0))
        copy = copy_layer(layer, (keras.Input((3,)),))
        x = self.normal(5, 3)
        self.assertAllClose(copy(x), layer(x), 1e-6, 1e-6)

    def test_copy_takes_another_dtype(self):
        inputs = keras.Input((3,))
        copy = copy_layer(layers.ReLU(), (inputs,), "bfloat16")
        self.assertEqual(copy.compute_dtype, "bfloat16")
        outputs = ops.convert_to_tensor(inputs, dtype="float32")
        operation = get_operation(outputs)
        self.assertEqual(copy_layer(operation, (inputs,)).dtype, "float32")
        copy = copy_layer(operation, (inputs,), "bfloat16")
        self.assertEqual(copy.dtype, "bfloat16")


class RebuildModelTest(LipschitzTestCase):
    def test_model_is_rebuilt_with_its_branches_and_shared_layers(self):
        shared = layers.Dense(3, activation="tanh")
        inner = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
        inputs = keras.Input((3,))
        outputs = shared(inputs) - 0.5 * inner(shared(inputs + 1.0))
        model = keras.Model(inputs, outputs, name="original")
        copy = rebuild_model(model, copy_layer)
        x = self.normal(5, 3)
        self.assertAllClose(copy(x), model(x), 1e-6, 1e-6)
        self.assertEqual(copy.name, "original")
        # The shared layer is shared in the copy as well, and is another.
        self.assertLen(copy.weights, len(model.weights))
        for weight in model.weights:
            weight.assign(np.zeros(weight.shape))
        self.assertGreater(np.abs(to_numpy(copy(x))).max(), 0.0)
