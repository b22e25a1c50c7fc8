from keras_lip import layers
from keras_lip.applications import DCGANCritic
from tests.applications.application_test_case import ApplicationTestCase


class DCGANCriticTest(ApplicationTestCase):
    def test_parameters_are_those_of_the_discriminator(self):
        pairs = [(3, 64), (64, 128), (128, 256), (256, 512)]
        expected = sum(16 * p * q + q for p, q in pairs) + 4 * 4 * 512 + 1
        self.assertEqual(
            self.count_parameters(DCGANCritic, convolution="rko"), expected
        )

    def test_the_critic_is_bounded_by_one(self):
        model = DCGANCritic((32, 32, 3), "aol", width=2)
        self.assertEqual(model.output_shape, (None, 1))
        self.assertIsInstance(model.layers[-1], layers.UnitNormDense)
        self.run_application_test(model, 1 + 1e-4)

    def test_each_convolution_halves_the_image(self):
        model = DCGANCritic((16, 32, 3), convolution="rko", width=2)
        convolutions = [
            layer
            for layer in model.layers
            if isinstance(layer, layers.RKOConv2D)
        ]
        self.assertEqual(
            [tuple(layer.output.shape[1:]) for layer in convolutions],
            [(8, 16, 2), (4, 8, 4), (2, 4, 8), (1, 2, 16)],
        )
        sizes = {layer.kernel_size for layer in convolutions}
        self.assertEqual(sizes, {(2, 2)})
