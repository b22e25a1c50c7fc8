import keras
from absl.testing import parameterized

from keras_lip import bounds
from keras_lip import models
from tests.layers.every_layer import EVERY_LAYER
from tests.layers.every_layer import VECTORS
from tests.layers.every_layer import connect
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

ON_VECTORS = [
    name for name, (_, shape) in EVERY_LAYER.items() if shape == VECTORS
]


class RanksTest(LipschitzTestCase):
    @parameterized.parameters(*ON_VECTORS)
    def test_layers_of_vectors_act_on_the_last_axis(self, name):
        make, _ = EVERY_LAYER[name]

        def build(shape):
            inputs = keras.Input(shape)
            outputs = connect(name, make(), inputs)
            return models.LipschitzModel(inputs, outputs)

        model, on_vectors = build((2, 3, 4)), build((4,))
        on_vectors.set_weights(model.get_weights())
        x = self.normal(5, 2, 3, 4)
        outputs = to_numpy(on_vectors(x.reshape(30, 4)))
        outputs = outputs.reshape(5, 2, 3, -1)
        self.assertAllClose(model(x), outputs, 1e-5)
        norm = "linf" if name == "LinfDense" else "l2"
        self.assertAlmostEqual(
            bounds.lipschitz_bound(model, norm=norm),
            bounds.lipschitz_bound(on_vectors, norm=norm),
            places=9,
        )
        self.assertAllClose(models.materialize(model)(x), outputs, 1e-5)
