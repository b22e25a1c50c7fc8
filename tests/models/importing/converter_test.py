import keras
import numpy as np
from keras import layers

from keras_lip.graph import get_operation
from keras_lip.models.importing.converter import copy_layer
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

    def test_operation_is_copied_as_well(self):
        inputs = keras.Input((3,))
        operation = get_operation(keras.ops.maximum(inputs, 0.5))
        copy = copy_layer(operation, (inputs, 0.5))
        self.assertIsNot(copy, operation)
        x = self.normal(5, 3)
        self.assertAllClose(copy(x, 0.5), np.maximum(x, 0.5), 0, 0)
