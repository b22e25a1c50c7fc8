from absl.testing import parameterized

from keras_lip import layers
from tests.layers.convolutional.convolution_test_case import ConvolutionTestCase


class BCOPConv1DTest(ConvolutionTestCase):
    def test_contract(self):
        self.run_lipschitz_layer_test(
            layers.BCOPConv1D,
            init_kwargs={"filters": 3, "kernel_size": 3},
            input_shape=(6, 2),
            expected_output_shape=(6, 3),
        )

    @parameterized.parameters((2, 4, 4, 1), (3, 4, 3, 2))
    def test_all_singular_values_are_one(self, inputs, filters, taps, strides):
        layer = layers.BCOPConv1D(filters, taps, strides=strides)
        self.build(layer, (6,), inputs)
        values = self.check_norm(layer, (6,), inputs)
        self.assertGreaterEqual(values.min(), 1 - 1e-4)
        self.assertLessEqual(layer.lipschitz_bound(), 1 + 1e-4)
