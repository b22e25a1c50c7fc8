import keras

from keras_lip import layers
from keras_lip.applications import ResNet9
from tests.applications.application_test_case import ApplicationTestCase


class ResNet9Test(ApplicationTestCase):
    def test_parameters_on_cifar(self):
        pairs = [(3, 64), (64, 128), (128, 128), (128, 128)]
        pairs += [(128, 256), (256, 512), (512, 512), (512, 512)]
        expected = sum(9 * p * q + q for p, q in pairs)
        # Two weights for each sum, and the dense layers.
        expected += 2 + 2 + 2048 * 512 + 512 + 512 * 10 + 10
        self.assertEqual(self.count_parameters(ResNet9), expected)

    def test_the_network_is_bounded_by_one(self):
        model = ResNet9(
            (16, 16, 3), 2, "aol", width=2, units=4, padding_mode="zeros"
        )
        self.run_application_test(model, 1 + 1e-4)

    def test_two_pairs_of_convolutions_are_residual(self):
        model = ResNet9((16, 32, 3), 2, width=2, units=4)
        sums = [
            layer
            for layer in model.layers
            if isinstance(layer, layers.ConvexAdd)
        ]
        shapes = [(None, 8, 16, 4), (None, 2, 4, 16)]
        self.assertEqual([tuple(add.output.shape) for add in sums], shapes)
        for add in sums:
            skip, branch = add.input
            convolutions = 0
            # What is added comes from two convolutions of what is skipped.
            while branch is not skip:
                layer = branch._keras_history.operation
                convolutions += isinstance(layer, layers.CayleyConv2D)
                self.assertIsInstance(
                    layer, layers.CayleyConv2D | layers.MaxMin
                )
                branch = layer.input
            self.assertEqual(convolutions, 2)
        self.assertEqual(
            [
                tuple(layer.output.shape[1:])
                for layer in model.layers
                if isinstance(layer, layers.ScaledAveragePooling2D)
            ],
            [(8, 16, 4), (4, 8, 8), (2, 4, 16), (1, 2, 16)],
        )
        self.assertIsInstance(model.layers[-4], keras.layers.Flatten)
