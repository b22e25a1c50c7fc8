import keras
import pytest
from absl.testing import parameterized

from keras_lip import applications
from keras_lip import models
from tests.applications.application_test_case import ApplicationTestCase

pytestmark = pytest.mark.slow


# Multiples of the sides of images, and the arguments that make small networks.
IMAGES = {
    "BRONet": 8,
    "ConvexPotentialNet": 4,
    "DCGANCritic": 16,
    "HybridFlowNet": 4,
    "LargeConvNet": 4,
    "LiResNet": 8,
    "LipConvNet": 32,
    "ResNet9": 16,
    "SLLNet": 4,
    "SmallConvNet": 4,
    "WideResNet": 16,
}
MEASURED = {"depth": 1, "width": 4, "dense_depth": 1, "units": 4}
BLOCKS = {"depth": 1, "channels": 4, "linear_depth": 1, "hidden_units": 4}
SMALL = {
    "BRONet": MEASURED,
    "ConvexPotentialNet": BLOCKS,
    "DCGANCritic": {"width": 2},
    "FullyConnected3": {"units": 4},
    "HybridFlowNet": BLOCKS,
    "LargeConvNet": {"width": 2, "units": 4},
    "LiResNet": MEASURED,
    "LipConvNet": {"depth": 5, "width": 2},
    "LipNeXt": {"depth": 1, "width": 4},
    "ResNet9": {"width": 2, "units": 4},
    "SLLNet": BLOCKS,
    "SmallConvNet": {"width": 2, "units": 4},
    "WideResNet": {"width": 2, "widen_factor": 1},
}
CLASSIFIERS = sorted(set(SMALL) - {"DCGANCritic"})
CONVOLUTIONAL = (
    "DCGANCritic",
    "LargeConvNet",
    "LipConvNet",
    "ResNet9",
    "SmallConvNet",
    "WideResNet",
)


def make(network, **kwargs):
    side = IMAGES.get(network, 4)
    arguments = {
        "input_shape": (side, 2 * side, 3),
        **SMALL[network],
        **kwargs,
    }
    return getattr(applications, network)(**arguments)


class ApplicationsTest(ApplicationTestCase):
    def test_these_are_all(self):
        public = [name for name in vars(applications) if name[0].isupper()]
        self.assertCountEqual(public, [*SMALL, "PublishedWeights"])

    @parameterized.parameters(*CLASSIFIERS)
    def test_a_classifier_has_its_name_and_classes(self, name):
        model = make(name, classes=3, name="mine")
        self.assertIsInstance(model, models.LipschitzModel)
        self.assertFalse(model.compiled)
        self.assertEqual(model.name, "mine")
        self.assertEqual(model.output_shape, (None, 3))

    @parameterized.parameters(*IMAGES)
    def test_channels_are_last_whatever_the_configuration(self, name):
        self.addCleanup(
            keras.config.set_image_data_format,
            keras.config.image_data_format(),
        )
        last = make(name)
        keras.config.set_image_data_format("channels_first")
        first = make(name)
        self.assertEqual(
            [tuple(layer.output.shape) for layer in first.layers],
            [tuple(layer.output.shape) for layer in last.layers],
        )
        self.assertEqual(
            {getattr(layer, "data_format", None) for layer in first.layers},
            {"channels_last", None},
        )

    @parameterized.parameters(*IMAGES.items())
    def test_images_that_do_not_fit_are_refused(self, name, multiple):
        with self.assertRaisesRegex(ValueError, rf"multiples of {multiple},"):
            make(name, input_shape=(multiple, multiple + 1, 3))
        fitting = rf"\({multiple}, {2 * multiple}, 3\)"
        with self.assertRaisesRegex(ValueError, rf"images to {fitting}, for"):
            make(name, input_shape=(multiple, multiple + 1, 3))

    @parameterized.parameters(*CLASSIFIERS)
    def test_an_unknown_head_is_refused(self, name):
        with self.assertRaisesRegex(
            ValueError,
            "Unknown head: 'softmax'. The known ones are: 'curvature', "
            "'orthogonal', 'truncation', 'unit_norm'",
        ):
            make(name, head="softmax")

    @parameterized.parameters(*CONVOLUTIONAL)
    def test_what_convolutions_are_made_of_is_passed_on(self, name):
        with self.assertRaisesRegex(ValueError, "Unknown convolution: 'fft'"):
            make(name, convolution="fft")
        with self.assertRaisesRegex(ValueError, "Unknown activation: 'tanh'"):
            make(name, activation="tanh")
        with self.assertRaisesRegex(ValueError, "Unknown padding_mode: 'edge'"):
            make(name, padding_mode="edge")
        with self.assertRaisesRegex(ValueError, "`width` must be a positive"):
            make(name, width=0)
        model = make(
            name,
            convolution="aol",
            activation="absolute_value",
            padding_mode="zeros",
        )
        kinds = {type(layer).__name__ for layer in model.layers}
        self.assertContainsSubset({"AOLConv2D", "AbsoluteValue"}, kinds)
        self.assertNoCommonElements({"BCOPConv2D", "MaxMin"}, kinds)
        self.assertEqual(
            {getattr(layer, "padding_mode", None) for layer in model.layers},
            {"zeros", None},
        )

    @parameterized.parameters(*CONVOLUTIONAL)
    def test_all_convolutions_take_further_arguments(self, name):
        model = make(
            name,
            convolution="ossn",
            convolution_arguments={"training_iterations": 10},
        )
        found = [
            layer.kernel_map.training_iterations
            for layer in model.layers
            if type(layer).__name__ == "OSSNConv2D"
        ]
        self.assertEqual(set(found), {10})
        self.assertGreaterEqual(len(found), 2)

    @parameterized.parameters(
        "FullyConnected3",
        "LargeConvNet",
        "ResNet9",
        "SmallConvNet",
        "WideResNet",
    )
    def test_dense_layers_take_the_parametrization(self, name):
        model = make(name, parametrization="bjorck")
        kinds = [
            type(layer.parametrization).__name__
            for layer in model.layers
            if type(layer).__name__ == "OrthogonalDense"
        ]
        self.assertEqual(set(kinds), {"Bjorck"})
        self.assertGreaterEqual(len(kinds), 2)
