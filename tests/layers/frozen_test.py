import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip import models
from keras_lip import regularizers
from tests.layers.every_layer import WEIGHTED
from tests.layers.every_layer import connect
from tests.lipschitz_test_case import LipschitzTestCase

STATES = (
    "BatchCentering",
    "ConvexPotentialConv2D",
    "ConvexPotentialDense",
    "ConvexPotentialExpansion",
    "InvertibleResidual",
    "LayerStack",
    "LipschitzDense",
    "OSSNConv2D",
    "SVCMConv2D",
    "SkewFlowConv2D",
    "SkewFlowDense",
)


def freeze_as_argument(make, shape):
    layer = make(trainable=False)
    layer.build((None, *shape))
    return layer, layer


def freeze_before_it_is_built(make, shape):
    layer = make()
    layer.trainable = False
    layer.build((None, *shape))
    return layer, layer


def freeze_when_built(make, shape):
    layer = make()
    layer.build((None, *shape))
    layer.trainable = False
    return layer, layer


def freeze_a_model_around_it(make, shape):
    layer = make()
    model = keras.Sequential([keras.Input(shape), layer])
    model.trainable = False
    return layer, model


def freeze_a_model_in_which_it_comes(make, shape):
    layer = make()
    model = models.LipschitzSequential(
        [keras.Input(shape), layer], trainable=False
    )
    return layer, model


WAYS = (
    freeze_as_argument,
    freeze_before_it_is_built,
    freeze_when_built,
    freeze_a_model_around_it,
    freeze_a_model_in_which_it_comes,
)


class FrozenTest(LipschitzTestCase):
    def start(self, layer):
        """Gives a layer weights that a step would move."""
        values = [self.normal(*weight.shape) for weight in layer.weights]
        layer.set_weights(values)
        return values

    @parameterized.product(name=STATES, freeze=WAYS)
    def test_states_of_frozen_layers_stay(self, name, freeze):
        make, shape = WEIGHTED[name]
        layer, called = freeze(make, shape)
        before = self.start(layer)
        x = self.normal(2, *shape)
        outputs = called(x, training=True)
        for actual, desired in zip(layer.get_weights(), before, strict=True):
            np.testing.assert_array_equal(actual, desired)
        self.assertAllClose(outputs, called(x, training=False), 0, 0)

    @parameterized.parameters(*WEIGHTED)
    def test_states_of_other_layers_are_known(self, name):
        make, shape = WEIGHTED[name]
        layer = make()
        connect(name, layer, self.normal(2, *shape))
        before = self.start(layer)
        x = self.normal(2, *shape)
        connect(name, lambda inputs: layer(inputs, training=True), x)
        moved = any(
            np.abs(new - old).max() > 0
            for new, old in zip(layer.get_weights(), before, strict=True)
        )
        self.assertEqual(moved, name in STATES)

    def test_a_step_of_training_moves_what_is_not_frozen(self):
        def block():
            return [layers.LipschitzDense(4), layers.BatchCentering()]

        frozen, free = block(), block()
        model = keras.Sequential([keras.Input((4,)), *frozen, *free])
        for layer in frozen:
            layer.trainable = False
        model.compile("sgd", "mse")
        x, y = self.normal(3, 4), self.normal(3, 4)
        before = [layer.get_weights() for layer in model.layers]
        model.fit(x, y, verbose=0)
        after = [layer.get_weights() for layer in model.layers]
        for old, new in zip(before[:2], after[:2], strict=True):
            for first, second in zip(old, new, strict=True):
                np.testing.assert_array_equal(first, second)
        for old, new in zip(before[2:], after[2:], strict=True):
            self.assertTrue(
                any(
                    np.abs(a - b).max() > 0
                    for a, b in zip(old, new, strict=True)
                )
            )

    def test_frozen_layers_are_not_regularized(self):
        for make in (
            lambda **k: layers.OrthogonalDense(4, **k),
            lambda **k: layers.LayerStack(
                layers.OrthogonalDense(4, **k), depth=2
            ),
        ):
            layer = make(kernel_regularizer=regularizers.Parseval(1.0))
            layer.build((None, 4))
            self.assertLen(layer.losses, 1)
            layer.trainable = False
            self.assertEmpty(layer.losses)
