import pytest
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.applications import LipConvNet
from tests.applications.application_test_case import ApplicationTestCase

pytestmark = pytest.mark.slow


WIDTHS = (32, 64, 128, 256, 512)

# What comes after the first convolution and five rearranged ones: the free
# kernels are square, of 32 and of four times the channels of each block.
SMALLEST = 9 * 32**2 + 32
SMALLEST += sum(9 * (4 * q) ** 2 + 4 * q for q in WIDTHS[:-1])
SMALLEST += 2048**2 + 2048
# Each five convolutions more are one in every block.
MORE = sum(9 * q**2 + q for q in WIDTHS)
HEAD = 1024 * 10 + 10


class LipConvNetTest(ApplicationTestCase):
    @parameterized.parameters((5, 0), (15, 2), (40, 7))
    def test_parameters_of_the_published_depths(self, depth, repeats):
        self.assertEqual(
            self.count_parameters(LipConvNet, depth),
            SMALLEST + repeats * MORE + HEAD,
        )

    def test_parameters_with_the_heads_of_table_3(self):
        # An angle for each pair of the pooled channels, and a hidden layer.
        angles = sum(2 * q for q in WIDTHS)
        head = 1024 * 4096 + 4096 + 4096 * 10 + 10
        self.assertEqual(
            self.count_parameters(
                LipConvNet, 5, pooling="projection", head="curvature"
            ),
            SMALLEST + angles + head,
        )

    def test_the_blocks_are_those_of_table_2(self):
        model = LipConvNet(10, width=2, classes=3)
        convolutions = [
            layer
            for layer in model.layers
            if isinstance(layer, layers.SOCConv2D)
        ]
        self.assertEqual(
            [tuple(layer.output.shape[1:]) for layer in convolutions],
            [(32, 32, 2), (32, 32, 2), (16, 16, 8)]
            + [(16, 16, 4), (8, 8, 16)]
            + [(8, 8, 8), (4, 4, 32)]
            + [(4, 4, 16), (2, 2, 64)]
            + [(2, 2, 32), (1, 1, 128)],
        )
        sizes = [layer.kernel_size[0] for layer in convolutions]
        self.assertEqual(sizes, [3] * 10 + [1])
        kinds = [type(layer).__name__ for layer in model.layers]
        self.assertEqual(kinds.count("MaxMin"), 6)
        self.assertEqual(kinds.count("MaxChannelPooling"), 5)
        self.assertEqual(kinds[-2:], ["Flatten", "UnitNormDense"])
        self.assertEqual(model.layers[-2].output.shape, (None, 64))

    @parameterized.parameters(
        ("max", "MaxChannelPooling", 4, 1),
        ("projection", "ProjectionPooling", 4, 1),
        ("truncation", "SOCConv2D", 2, 6),
    )
    def test_pooling_halves_the_channels(self, pooling, kind, factor, sorts):
        model = LipConvNet(5, width=2, pooling=pooling)
        kinds = [type(layer).__name__ for layer in model.layers]
        self.assertGreaterEqual(kinds.count(kind), 5)
        self.assertEqual(kinds.count("MaxMin"), sorts)
        outputs = [
            layer.output.shape[-1]
            for layer in model.layers
            if isinstance(layer, layers.SOCConv2D)
        ]
        expected = [2] + [factor * q for q in (2, 4, 8, 16, 32)]
        self.assertEqual(outputs, expected)
        self.assertEqual(model.layers[-2].output.shape, (None, 64))

    def test_the_network_is_bounded_by_one(self):
        model = LipConvNet(
            5,
            classes=3,
            convolution="aol",
            activation="householder",
            pooling="projection",
            head="orthogonal",
            width=2,
            padding_mode="zeros",
        )
        self.run_application_test(model, 1 + 1e-4)

    @parameterized.parameters(
        ("soc", None, "zeros"),
        ("soc", "circular", "circular"),
        ("bcop", None, "circular"),
        ("aol", "zeros", "zeros"),
    )
    def test_padding_is_that_of_the_paper(self, convolution, given, expected):
        model = LipConvNet(
            5, convolution=convolution, width=2, padding_mode=given
        )
        modes = {
            layer.padding_mode
            for layer in model.layers
            if hasattr(layer, "padding_mode")
        }
        self.assertEqual(modes, {expected})

    def test_the_curvature_head_has_its_hidden_units(self):
        model = LipConvNet(5, width=2, head="curvature", hidden_units=7)
        self.assertIsInstance(model.layers[-1], layers.CurvatureHead)
        self.assertEqual(model.layers[-1].hidden_units, 7)

    def test_arguments_out_of_range_are_refused(self):
        with self.assertRaisesRegex(
            ValueError, "`depth` must be a multiple of 5, .* depth=7"
        ):
            LipConvNet(7)
        with self.assertRaisesRegex(ValueError, "`depth` must be a positive"):
            LipConvNet(0)
        with self.assertRaisesRegex(
            ValueError,
            "Unknown pooling: 'mean'. The known ones are: 'max', "
            "'projection', 'truncation'",
        ):
            LipConvNet(5, pooling="mean")
