from absl.testing import parameterized

from keras_lip.applications import SLLNet
from tests.applications.application_test_case import ApplicationTestCase

SMALL = {
    "input_shape": (8, 4, 3),
    "classes": 3,
    "depth": 2,
    "channels": 4,
    "hidden_filters": 2,
    "linear_depth": 2,
    "hidden_units": 5,
}


class SLLNetTest(ApplicationTestCase):
    # Those of the convex potential network, and a scale for each hidden unit.
    @parameterized.parameters(
        ("S", 41_371_426 + 20 * 5 + 7 * 2048),
        ("XL", 236_415_480 + 70 * 5 + 15 * 2048),
    )
    def test_parameters_of_the_published_sizes(self, size, expected):
        self.assertEqual(self.count_parameters(SLLNet, size), expected)

    def test_the_network_is_bounded_by_its_head(self):
        model = SLLNet(**SMALL)
        head = model.layers[-1].lipschitz_bound()
        self.run_application_test(model, head * (1 + 1e-5))

    def test_what_is_given_replaces_the_numbers_of_the_size(self):
        model = SLLNet("XL", **SMALL, padding_mode="circular")
        kinds = [type(layer).__name__ for layer in model.layers]
        self.assertEqual(
            kinds,
            [
                "PadChannels",
                "SLLConv2D",
                "SLLConv2D",
                "ScaledAveragePooling2D",
                "Flatten",
                "SLLDense",
                "SLLDense",
                "UnitNormDense",
            ],
        )
        self.assertEqual(model.layers[1].kernel.shape, (3, 3, 4, 2))
        self.assertEqual(model.layers[1].padding_mode, "circular")
        self.assertEqual(model.layers[5].kernel.shape, (8, 5))
