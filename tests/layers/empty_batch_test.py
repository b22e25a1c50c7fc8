import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from tests.layers.every_layer import EVERY_LAYER
from tests.layers.every_layer import connect
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class EmptyBatchTest(LipschitzTestCase):
    @parameterized.parameters(*EVERY_LAYER)
    def test_no_samples_go_through_every_layer(self, name):
        make, shape = EVERY_LAYER[name]
        layer = make()
        one = connect(name, layer, np.ones((1, *shape), "float32"))
        empty = np.ones((0, *shape), "float32")
        outputs = connect(name, layer, empty)
        self.assertEqual(tuple(outputs.shape), (0, *one.shape[1:]))
        trained = connect(
            name, lambda inputs: layer(inputs, training=True), empty
        )
        self.assertEqual(tuple(trained.shape), (0, *one.shape[1:]))
        for weight in layer.get_weights():
            self.assertTrue(np.isfinite(weight).all())

        inputs = keras.Input(shape)
        model = keras.Model(inputs, connect(name, layer, inputs))
        self.assertEqual(
            model.predict_on_batch(empty).shape, (0, *one.shape[1:])
        )

    @parameterized.parameters(
        *({"strides": 2}, {"padding": "valid"}, {"padding_mode": "zeros"}),
        {"strides": 2, "padding_mode": "zeros"},
        {"dilation_rate": 2, "padding": "valid"},
        {"groups": 2},
    )
    def test_no_samples_go_through_every_convolution(self, **kwargs):
        layer = layers.AOLConv2D(4, 2, **kwargs)
        shape = layer(np.ones((1, 6, 6, 4), "float32")).shape
        outputs = layer(np.ones((0, 6, 6, 4), "float32"))
        self.assertEqual(tuple(outputs.shape), (0, *shape[1:]))

    def test_no_samples_leave_a_mean_where_it_is(self):
        layer = layers.BatchCentering()
        layer.build((None, 2))
        layer.moving_mean.assign([1.0, 2.0])
        layer(np.zeros((0, 2), "float32"), training=True)
        self.assertEqual(to_numpy(layer.moving_mean).tolist(), [1.0, 2.0])
