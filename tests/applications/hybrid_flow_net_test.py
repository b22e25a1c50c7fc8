import keras
import numpy as np
import pytest
from absl.testing import parameterized

from keras_lip import bounds
from keras_lip import layers
from keras_lip.applications import ConvexPotentialNet
from keras_lip.applications import HybridFlowNet
from keras_lip.models import fix_steps
from tests.applications.application_test_case import ApplicationTestCase
from tests.lipschitz_test_case import to_numpy

pytestmark = pytest.mark.slow


SMALL = {
    "input_shape": (8, 4, 3),
    "classes": 3,
    "depth": 2,
    "channels": 4,
    "hidden_filters": 2,
    "linear_depth": 1,
    "hidden_units": 5,
}


class HybridFlowNetTest(ApplicationTestCase):
    @parameterized.parameters(
        ("S", 20, 45, 42),
        ("M", 30, 60, 80),
        ("L", 50, 90, 122),
        ("XL", 70, 120, 245),
    )
    def test_rotations_are_added_to_the_convex_potential_network(
        self, size, depth, channels, millions
    ):
        count = self.count_parameters(HybridFlowNet, size)
        plain = self.count_parameters(ConvexPotentialNet, size)
        self.assertEqual(count - plain, depth * 9 * channels**2)
        self.assertEqual(round(count / 1e6), millions)

    @parameterized.parameters(
        ("midpoint", "circular"),
        ("exponential", "circular"),
        ("exponential", "zeros"),
    )
    def test_the_network_is_measured_saved_and_materialized(self, flow, mode):
        model = HybridFlowNet(**SMALL, flow=flow, padding_mode=mode)
        kinds = [type(layer).__name__ for layer in model.layers]
        self.assertEqual(
            kinds,
            [
                "PadChannels",
                "SkewFlowConv2D",
                "SkewFlowConv2D",
                "ScaledAveragePooling2D",
                "Flatten",
                "ConvexPotentialDense",
                "UnitNormDense",
            ],
        )
        self.assertEqual(model.layers[1].flow, flow)
        head = model.layers[-1].lipschitz_bound()
        # The norms of two potentials on images are estimated from below, and
        # the materialized model takes shorter steps.
        self.run_application_test(model, 1.1 * head, atol=0.1)
        fixed = fix_steps(model)
        self.assertLessEqual(bounds.lipschitz_bound(fixed), head * (1 + 1e-5))

    def test_without_rotations_it_is_the_convex_potential_network(self):
        model = HybridFlowNet(**SMALL, generator_initializer="zeros")
        plain = ConvexPotentialNet(**SMALL, padding_mode="circular")
        potentials = [
            getattr(layer, "potential", layer) for layer in model.layers
        ]
        for layer, other in zip(potentials, plain.layers, strict=True):
            other.set_weights(layer.get_weights())
        x = self.normal(3, *model.input_shape[1:])
        self.assertAllClose(model(x), plain(x), 1e-5)

    def make_blocks(self, **arguments):
        model = HybridFlowNet(**SMALL, **arguments)
        return keras.Sequential([keras.Input((8, 4, 3)), *model.layers[:3]])

    def test_short_steps_are_injective(self):
        for flow in ("midpoint", "exponential"):
            blocks = self.make_blocks(step_fraction=0.25, flow=flow)
            bound = bounds.lipschitz_bound(blocks)
            self.assertAlmostEqual(bound, 1.0, delta=1e-5)
            x, y = self.normal(2, 16, 8, 4, 3)
            apart = to_numpy(blocks(x)) - to_numpy(blocks(y))
            stretch = np.linalg.norm(
                apart.reshape(16, -1), axis=1
            ) / np.linalg.norm((x - y).reshape(16, -1), axis=1)
            self.assertBetween(stretch.min(), 0.25, 1.0)
        # Two potentials, each with a quarter of the longest step, and norms
        # that are estimated a little too small.
        bound = bounds.contraction_bound(blocks)
        self.assertBetween(bound, 0.2, 0.25 + 1e-6)

    @parameterized.parameters(
        ({},), ({"flow": "exponential"},), ({"step_fraction": 0.25},)
    )
    def test_longest_steps_and_midpoints_have_no_lower_bound(self, arguments):
        blocks = self.make_blocks(**arguments)
        self.assertEqual(bounds.contraction_bound(blocks), 0.0)

    def test_a_loop_over_blocks_is_the_same_network(self):
        model = HybridFlowNet(**SMALL, scan_blocks=True)
        self.assertIsInstance(model.layers[1], layers.LayerStack)
        written = HybridFlowNet(**SMALL)
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

    def test_arguments_out_of_range_are_refused(self):
        with self.assertRaisesRegex(ValueError, "Unknown size: 'XS'"):
            HybridFlowNet("XS")
        with self.assertRaisesRegex(ValueError, "Unknown flow: 'euler'"):
            HybridFlowNet(**SMALL, flow="euler")
        with self.assertRaisesRegex(ValueError, "Fourier domain"):
            HybridFlowNet(**SMALL, padding_mode="zeros")
        for name in (
            "depth",
            "channels",
            "hidden_filters",
            "linear_depth",
            "hidden_units",
        ):
            with self.assertRaisesRegex(ValueError, f"`{name}` must be a pos"):
                HybridFlowNet(**{**SMALL, name: 0})
