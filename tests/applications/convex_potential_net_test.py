import keras
import numpy as np
import pytest
from absl.testing import parameterized

from keras_lip import bounds
from keras_lip import layers
from keras_lip.applications import ConvexPotentialNet
from keras_lip.applications import SLLNet
from tests.applications.application_test_case import ApplicationTestCase

pytestmark = pytest.mark.slow


SMALL = {
    "input_shape": (8, 4, 3),
    "classes": 3,
    "depth": 2,
    "channels": 4,
    "hidden_filters": 2,
    "linear_depth": 2,
    "hidden_units": 5,
}


class ConvexPotentialNetTest(ApplicationTestCase):
    # 70 (9 * 120 * 5 + 5) + 15 (8 * 8 * 120 * 2048 + 2048)
    # + 8 * 8 * 120 * 10 + 10, and so on; 236 M are published.
    @parameterized.parameters(
        ("S", 41_371_426),
        ("M", 78_783_240),
        ("L", 118_245_640),
        ("XL", 236_415_480),
    )
    def test_parameters_of_the_published_sizes(self, size, expected):
        self.assertEqual(
            self.count_parameters(ConvexPotentialNet, size), expected
        )

    def test_parameters_of_the_network_of_table_2(self):
        count = self.count_parameters(
            ConvexPotentialNet,
            depth=50,
            channels=90,
            linear_depth=15,
            hidden_units=4096,
        )
        # Of a convolution, a dense block on 8 x 8 x 90 features, and the head.
        expected = 50 * (9 * 90 * 5 + 5)
        expected += 15 * (5760 * 4096 + 4096) + 5760 * 10 + 10
        self.assertEqual(count, expected)

    def test_what_is_given_replaces_the_numbers_of_the_size(self):
        model = ConvexPotentialNet("XL", **SMALL, step=0.5)
        kinds = [type(layer).__name__ for layer in model.layers]
        self.assertEqual(
            kinds,
            [
                "PadChannels",
                "ConvexPotentialConv2D",
                "ConvexPotentialConv2D",
                "ScaledAveragePooling2D",
                "Flatten",
                "ConvexPotentialDense",
                "ConvexPotentialDense",
                "UnitNormDense",
            ],
        )
        conv, dense = model.layers[1], model.layers[5]
        self.assertEqual(conv.kernel.shape, (3, 3, 4, 2))
        self.assertEqual(conv.padding_mode, "zeros")
        # Pooling leaves 2 x 1 x 4 of 8 x 4 x 4.
        self.assertEqual(dense.kernel.shape, (8, 5))
        self.assertEqual((conv.step, dense.step), (0.5, 0.5))
        self.assertEqual(model.output_shape, (None, 3))

    def test_the_network_is_measured_saved_and_materialized(self):
        model = ConvexPotentialNet(**SMALL)
        head = model.layers[-1].lipschitz_bound()
        # Of two blocks on images the norms are estimated from below, and the
        # materialized model takes shorter steps.
        self.run_application_test(model, 1.1 * head, atol=0.1)
        self.assertGreater(bounds.lipschitz_bound(model), head)

    def test_a_short_step_is_proven(self):
        model = ConvexPotentialNet(**SMALL, step=0.01, head="truncation")
        self.assertAlmostEqual(bounds.lipschitz_bound(model), 1.0, delta=1e-6)
        self.assertIsInstance(model.layers[-1], layers.TruncateChannels)

    def test_a_fraction_of_every_step_is_proven(self):
        model = ConvexPotentialNet(
            **SMALL, step_fraction=0.9, head="truncation"
        )
        self.assertAlmostEqual(bounds.lipschitz_bound(model), 1.0, delta=1e-6)
        blocks = [each for each in model.layers if hasattr(each, "step")]
        self.assertLen(blocks, 4)
        self.assertEqual({block.step_fraction for block in blocks}, {0.9})

    @parameterized.parameters(ConvexPotentialNet, SLLNet)
    def test_a_loop_over_blocks_is_the_same_network(self, make):
        model = make(**SMALL, scan_blocks=True)
        kinds = [type(layer).__name__ for layer in model.layers]
        self.assertEqual(
            kinds,
            [
                "PadChannels",
                "LayerStack",
                "ScaledAveragePooling2D",
                "Flatten",
                "LayerStack",
                "UnitNormDense",
            ],
        )
        written = make(**SMALL)
        self.assertEqual(model.count_params(), written.count_params())
        weights = []
        for layer in model.layers:
            if isinstance(layer, layers.LayerStack):
                for block in layer.blocks():
                    weights += block.get_weights()
            else:
                weights += layer.get_weights()
        written.set_weights(weights)
        x = self.normal(3, *model.input_shape[1:])
        self.assertAllClose(model(x), written(x), 1e-5)

    def test_biases_start_where_they_are_told_to(self):
        start = keras.initializers.Constant(-0.5)
        model = ConvexPotentialNet(**SMALL, bias_initializer=start)
        for index in (1, 5):
            bias = model.layers[index].bias
            self.assertAllClose(bias, np.full(bias.shape, -0.5))

    def test_a_thousand_blocks(self):
        model = ConvexPotentialNet(
            input_shape=(4, 4, 2),
            classes=2,
            depth=1000,
            channels=2,
            hidden_filters=1,
            linear_depth=1,
            hidden_units=2,
            step=0.01,
            head="truncation",
            scan_blocks=True,
        )
        self.assertLen(model.layers, 6)
        self.assertEqual(model.layers[1].depth, 1000)
        self.assertAlmostEqual(bounds.lipschitz_bound(model), 1.0, delta=1e-5)

    @parameterized.parameters(ConvexPotentialNet, SLLNet)
    def test_arguments_out_of_range_are_refused(self, make):
        with self.assertRaisesRegex(
            ValueError,
            "Unknown size: 'XS'. The known ones are: 'L', 'M', 'S', 'XL'",
        ):
            make("XS")
        for name in (
            "depth",
            "channels",
            "hidden_filters",
            "linear_depth",
            "hidden_units",
        ):
            with self.assertRaisesRegex(ValueError, f"`{name}` must be a pos"):
                make(**{**SMALL, name: 0})
        with self.assertRaisesRegex(ValueError, "pads its input to 2 channels"):
            make(**{**SMALL, "channels": 2})
