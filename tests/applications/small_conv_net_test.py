import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import bounds
from keras_lip import layers
from keras_lip.applications import SmallConvNet
from tests.applications.application_test_case import ApplicationTestCase

SMALL = {"input_shape": (8, 16, 3), "classes": 2, "width": 2, "units": 4}


class SmallConvNetTest(ApplicationTestCase):
    @parameterized.parameters(((28, 28, 1), 166_406), ((32, 32, 3), 214_918))
    def test_parameters_are_those_of_wong_et_al(self, input_shape, expected):
        self.assertEqual(
            self.count_parameters(SmallConvNet, input_shape, convolution="rko"),
            expected,
        )

    def test_parameters_of_block_convolutions(self):
        # A square matrix, two projectors of half the rank, and a bias: of 16
        # channels for 12 to 16, and of 64 for 64 to 32.
        expected = 16 * 16 + 2 * 16 * 8 + 16
        expected += 64 * 32 + 2 * 64 * 32 + 32
        expected += 2048 * 100 + 100 + 1010
        self.assertEqual(self.count_parameters(SmallConvNet), expected)

    def test_the_network_is_bounded_by_one(self):
        self.run_application_test(SmallConvNet(**SMALL), 1 + 1e-4)

    def test_windows_are_of_four_by_four_pixels(self):
        model = SmallConvNet(**SMALL, convolution="rko")
        kinds = [type(layer).__name__ for layer in model.layers]
        block = ["InvertibleDownsampling2D", "RKOConv2D", "MaxMin"]
        self.assertEqual(
            kinds,
            ["InputLayer", *block, *block, "Flatten"]
            + ["OrthogonalDense", "MaxMin", "OrthogonalDense"],
        )
        shapes = [tuple(layer.output.shape[1:]) for layer in model.layers]
        self.assertEqual(shapes[1:3], [(4, 8, 12), (4, 8, 2)])
        self.assertEqual(shapes[4:6], [(2, 4, 8), (2, 4, 4)])
        self.assertEqual(shapes[7:], [(32,), (4,), (4,), (2,)])
        self.assertEqual(model.layers[2].kernel_size, (2, 2))

    def test_a_step_of_training_keeps_the_bound(self):
        model = SmallConvNet(**SMALL)
        weights = [np.array(w) for w in model.get_weights()]
        model.compile(keras.optimizers.SGD(10.0), "mse")
        model.train_on_batch(self.normal(4, 8, 16, 3), self.normal(4, 2))
        changes = [
            np.abs(new - old).max()
            for new, old in zip(model.get_weights(), weights, strict=True)
        ]
        self.assertGreater(min(changes), 0.0)
        self.assertAlmostEqual(bounds.lipschitz_bound(model), 1.0, delta=1e-4)

    def test_the_head_may_be_another(self):
        model = SmallConvNet(**SMALL, head="unit_norm")
        self.assertIsInstance(model.layers[-1], layers.UnitNormDense)
