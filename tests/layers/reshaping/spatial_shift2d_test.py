import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.program import freeze_layer
from tests.layers.convolutional.convolution_test_case import ConvolutionTestCase
from tests.lipschitz_test_case import to_numpy


def shift_by_hand(x, count, shift, circular):
    """Moves every entry, one at a time."""
    moved = np.zeros_like(x)
    steps = [(-shift, 0), (shift, 0), (0, -shift), (0, shift)]
    _, height, width, channels = x.shape
    for i in range(height):
        for j in range(width):
            for c in range(channels):
                up, left = (*steps, (0, 0))[min(c // count, 4)]
                row, column = i + up, j + left
                if circular:
                    row, column = row % height, column % width
                if 0 <= row < height and 0 <= column < width:
                    moved[:, row, column, c] = x[:, i, j, c]
    return moved


class SpatialShift2DTest(ConvolutionTestCase):
    @parameterized.parameters(
        {},
        {"ratio": 0.25, "padding_mode": "zeros"},
        {"shift": 2, "data_format": "channels_first"},
    )
    def test_contract(self, **kwargs):
        first = kwargs.get("data_format") == "channels_first"
        shape = (6, 3, 5) if first else (3, 5, 6)
        self.run_lipschitz_layer_test(
            layers.SpatialShift2D, kwargs, shape, shape
        )

    @parameterized.product(
        case=((8, 0.125, 1), (9, 0.25, 2), (4, 0.01, 1), (12, 0.25, 3)),
        shift=(1, 2),
        padding_mode=("circular", "zeros"),
    )
    def test_groups_move_in_four_directions(self, case, shift, padding_mode):
        channels, ratio, count = case
        layer = layers.SpatialShift2D(ratio, shift, padding_mode=padding_mode)
        x = self.normal(2, 3, 4, channels)
        circular = padding_mode == "circular"
        expected = shift_by_hand(x, count, shift, circular)
        self.assertAllClose(layer(x), expected, 0, 0)
        program = freeze_layer(layer, [x.shape[1:]])
        self.assertAllClose(program.run(x), expected, 0, 0)
        self.assertEqual(program.bounds("l2").output, 1.0)
        self.assertEqual(program.bounds("linf").output, 1.0)

    @parameterized.parameters(("circular", 1.0), ("zeros", 0.0))
    def test_it_is_a_permutation_of_the_entries(self, padding_mode, least):
        layer = layers.SpatialShift2D(0.25, padding_mode=padding_mode)
        matrix = self.matrix_of(layer, (3, 3), 5)
        self.assertAllClose(np.unique(matrix), [0, 1], 0, 0)
        values = self.singular_values(matrix)
        self.assertAlmostEqual(values.max(), 1.0)
        self.assertAlmostEqual(values.min(), least)

    def test_gradient_of_the_program_is_the_transpose(self):
        for padding_mode in ("circular", "zeros"):
            layer = layers.SpatialShift2D(0.25, padding_mode=padding_mode)
            matrix = self.matrix_of(layer, (3, 4), 5)
            program = freeze_layer(layer, [(3, 4, 5)])
            (step,) = program.steps
            upstream = self.normal(2, 3, 4, 5)
            x = np.zeros((2, 3, 4, 5))
            (found,) = step.node.pull_back(upstream, x)
            expected = upstream.reshape(2, -1) @ matrix
            self.assertAllClose(found.reshape(2, -1), expected, 1e-12)

    def test_images_of_unknown_size_are_moved(self):
        inputs = keras.Input((None, None, 4))
        layer = layers.SpatialShift2D(0.25)
        model = keras.Model(inputs, layer(inputs))
        for sides in ((3, 4), (5, 2)):
            x = self.normal(2, *sides, 4)
            self.assertAllClose(model(x), shift_by_hand(x, 1, 1, True), 0, 0)
        self.assertEqual(layer.lipschitz_bound(), 1.0)

    def test_data_formats_agree(self):
        x = self.normal(2, 4, 5, 8)
        last = layers.SpatialShift2D(data_format="channels_last")(x)
        first = layers.SpatialShift2D(data_format="channels_first")(
            np.moveaxis(x, -1, 1)
        )
        self.assertAllClose(np.moveaxis(to_numpy(first), 1, -1), last, 0, 0)

    def test_invalid_arguments_are_refused(self):
        for ratio in (0.0, 0.3, -1.0):
            with self.assertRaisesRegex(ValueError, "`ratio`"):
                layers.SpatialShift2D(ratio)
        with self.assertRaisesRegex(ValueError, "`shift` must be"):
            layers.SpatialShift2D(shift=0)
        with self.assertRaisesRegex(ValueError, "Unknown padding_mode"):
            layers.SpatialShift2D(padding_mode="same")
        with self.assertRaisesRegex(ValueError, "at least four channels"):
            layers.SpatialShift2D()(np.ones((1, 4, 4, 3)))
        with self.assertRaisesRegex(ValueError, "longer than `shift`"):
            layers.SpatialShift2D(shift=4)(np.ones((1, 4, 6, 8)))
        with self.assertRaisesRegex(ValueError, "is not built"):
            layers.SpatialShift2D().lipschitz_bound()
