import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from tests.layers.pooling.pooling_test_case import PoolingTestCase
from tests.lipschitz_test_case import to_numpy


class MaxChannelPoolingTest(PoolingTestCase):
    @parameterized.parameters(
        (-1, (6,), (3,)), (1, (4, 3, 2), (2, 3, 2)), (-2, (2, 4, 3), (2, 2, 3))
    )
    def test_contract(self, axis, shape, expected_shape):
        self.run_lipschitz_layer_test(
            layers.MaxChannelPooling,
            init_kwargs={"axis": axis},
            input_shape=shape,
            expected_output_shape=expected_shape,
        )

    def test_halves_are_compared(self):
        x = self.normal(2, 3, 4, 6)
        expected = np.maximum(x[..., :3], x[..., 3:])
        self.assertAllClose(layers.MaxChannelPooling()(x), expected, 0, 0)
        outputs = layers.MaxChannelPooling(1)(np.moveaxis(x, -1, 1))
        self.assertAllClose(np.moveaxis(to_numpy(outputs), 1, -1), expected)

    @parameterized.parameters(1, 2, 3, np.inf)
    def test_no_norm_is_exceeded(self, order):
        layer, x = layers.MaxChannelPooling(), self.normal(500, 6)
        y = x + self.normal(500, 6)
        change = to_numpy(layer(y)) - to_numpy(layer(x))
        stretch = np.linalg.norm(change, order, axis=-1)
        stretch /= np.linalg.norm(y - x, order, axis=-1)
        self.assertLessEqual(stretch.max(), 1 + 1e-6)

    def test_gradient_norm_is_preserved(self):
        x = ops.convert_to_tensor(self.normal(3, 4))
        norms = self.gradient_norms(layers.MaxChannelPooling(), x)
        self.assertAllClose(norms, np.ones_like(norms), 0, 0)

    def test_bound_is_one(self):
        for shape in ((None, 6), (None, 4, 3, 6), (None, None, None, 6)):
            layer = layers.MaxChannelPooling()
            layer.build(shape)
            self.assertEqual(layer.lipschitz_bound(), 1.0)

    def test_odd_number_of_channels_is_refused(self):
        with self.assertRaisesRegex(ValueError, "multiple of 2.*5 channels"):
            layers.MaxChannelPooling()(self.normal(2, 5))
        with self.assertRaisesRegex(ValueError, "`axis` of layer"):
            layers.MaxChannelPooling(axis=0)(self.normal(2, 4))
