import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip.autodiff import gradient
from tests.layers.pooling.pooling_test_case import PoolingTestCase


class GlobalL2NormPooling2DTest(PoolingTestCase):
    @parameterized.parameters(
        ("channels_last", False, (4, 3, 2), (2,)),
        ("channels_last", True, (4, 3, 2), (1, 1, 2)),
        ("channels_first", False, (2, 4, 3), (2,)),
        ("channels_first", True, (2, 4, 3), (2, 1, 1)),
    )
    def test_contract(self, data_format, keepdims, shape, expected_shape):
        self.run_lipschitz_layer_test(
            layers.GlobalL2NormPooling2D,
            init_kwargs={"data_format": data_format, "keepdims": keepdims},
            input_shape=shape,
            expected_output_shape=expected_shape,
        )

    @parameterized.parameters("channels_last", "channels_first")
    def test_norms_are_those_of_the_channels(self, data_format):
        x = self.normal(2, 4, 3, 5)
        expected = np.linalg.norm(x.astype("float64").reshape(2, 12, 5), axis=1)
        if data_format == "channels_first":
            x = np.moveaxis(x, -1, 1)
        outputs = layers.GlobalL2NormPooling2D(data_format)(x)
        self.assertAllClose(outputs, expected)

    def test_bound_is_one(self):
        self.assertEqual(layers.GlobalL2NormPooling2D().lipschitz_bound(), 1.0)

    def test_gradient_norm_is_preserved_and_zero_at_zero(self):
        layer = layers.GlobalL2NormPooling2D()
        x = ops.convert_to_tensor(self.normal(2, 3, 2, 1))
        norms = self.gradient_norms(layer, x)
        self.assertAllClose(norms, np.ones_like(norms))
        zeros = ops.zeros((1, 3, 2, 1))
        self.assertAllClose(gradient(layer, zeros), zeros, 0, 0)

    def test_sides_may_be_unknown(self):
        inputs = keras.Input((None, None, 2))
        model = keras.Model(inputs, layers.GlobalL2NormPooling2D()(inputs))
        self.assertEqual(model.output_shape, (None, 2))
        x = np.ones((1, 4, 9, 2), dtype="float32")
        self.assertAllClose(model(x), [[6.0, 6.0]])

    def test_invalid_arguments_are_refused(self):
        with self.assertRaisesRegex(ValueError, "Unknown data_format"):
            layers.GlobalL2NormPooling2D("last")
        with self.assertRaisesRegex(ValueError, "expected ndim=4"):
            layers.GlobalL2NormPooling2D()(self.normal(2, 3))
