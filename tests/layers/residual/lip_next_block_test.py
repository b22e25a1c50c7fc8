import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip import parametrizations
from tests.layers.convolutional.convolution_test_case import ConvolutionTestCase
from tests.lipschitz_test_case import to_numpy


class LipNeXtBlockTest(ConvolutionTestCase):
    @parameterized.parameters(
        {},
        {"parametrization": "bjorck", "use_bias": False, "beta": 0.25},
        {"parametrization": "block_reflector", "ratio": 0.25, "shift": 2},
        {"data_format": "channels_first", "padding_mode": "zeros"},
        {"use_position": False, "kernel_regularizer": "l2"},
    )
    def test_contract(self, **kwargs):
        first = kwargs.get("data_format") == "channels_first"
        shape = (6, 3, 4) if first else (3, 4, 6)
        self.run_lipschitz_layer_test(
            layers.LipNeXtBlock, kwargs, shape, shape, expected_bound=1.0
        )

    @parameterized.parameters("cayley", "block_reflector")
    def test_it_is_the_composition_of_its_parts(self, parametrization):
        block = layers.LipNeXtBlock(0.5, 0.25, parametrization=parametrization)
        self.build(block, (4, 5), 8)
        matrices = []
        for free in block._free:
            dense = layers.OrthogonalDense(
                8, parametrization=parametrization, use_bias=False
            )
            dense.build((None, 8))
            dense.free_kernel.assign(free)
            matrices.append(to_numpy(dense.kernel))
        rotation, kernel = matrices
        x = self.normal(2, 4, 5, 8)
        y = (x + to_numpy(block.position)) @ rotation
        y = to_numpy(layers.SpatialShift2D(0.25)(y)) @ rotation.T @ kernel
        y = layers.BetaAbs(0.5)(y + to_numpy(block.bias))
        self.assertAllClose(block(x), y, 1e-5, 1e-5)
        self.assertAllClose(block(x, training=True), y, 1e-5, 1e-5)

    def test_without_its_activation_it_is_orthogonal(self):
        for padding_mode, least in (("circular", 1.0), ("zeros", 0.0)):
            block = layers.LipNeXtBlock(
                0.0, 0.25, use_bias=False, padding_mode=padding_mode
            )
            self.build(block, (3, 3), 5)
            matrix = self.matrix_of(block, (3, 3), 5)
            values = self.singular_values(matrix)
            self.assertAlmostEqual(values.min(), least, delta=1e-5)
            self.assertAlmostEqual(values.max(), 1.0, delta=1e-5)

    def test_weights_are_two_matrices_a_bias_and_the_pixels(self):
        block = layers.LipNeXtBlock()
        block.build((None, 4, 6, 8))
        self.assertEqual(block.count_params(), 2 * 8 * 8 + 8 + 4 * 6)

    def test_data_formats_agree(self):
        x = self.normal(2, 4, 6, 8)
        last = layers.LipNeXtBlock(data_format="channels_last")
        first = layers.LipNeXtBlock(data_format="channels_first")
        self.build(last, (4, 6), 8)
        first.build((None, 8, 4, 6))
        first.set_weights(last.get_weights())
        outputs = first(np.moveaxis(x, -1, 1))
        self.assertAllClose(np.moveaxis(to_numpy(outputs), 1, -1), last(x))

    def test_states_of_the_parametrization_move(self):
        block = layers.LipNeXtBlock(parametrization=Counting())
        self.build(block, (4, 4), 4)
        uses = [w for w in block.non_trainable_weights if w.name == "uses"]
        self.assertLen(uses, 2)
        x = self.normal(2, 4, 4, 4)
        block(x)
        self.assertEqual([float(to_numpy(w)) for w in uses], [0, 0])
        block(x, training=True)
        self.assertEqual([float(to_numpy(w)) for w in uses], [1, 1])
        block.trainable = False
        block(x, training=True)
        self.assertEqual([float(to_numpy(w)) for w in uses], [1, 1])

    def test_invalid_arguments_are_refused(self):
        with self.assertRaisesRegex(ValueError, "needs an orthogonal param"):
            layers.LipNeXtBlock(parametrization="aol")
        with self.assertRaisesRegex(ValueError, "`beta`"):
            layers.LipNeXtBlock(2.0)
        with self.assertRaisesRegex(ValueError, "at least four channels"):
            layers.LipNeXtBlock()(np.ones((1, 4, 4, 3)))
        inputs = keras.Input((None, 4, 8))
        with self.assertRaisesRegex(ValueError, "use_position=False"):
            layers.LipNeXtBlock()(inputs)
        layers.LipNeXtBlock(use_position=False)(inputs)

    def test_images_that_would_be_repeated_are_refused(self):
        # Repeated for four rows, an image of one has twice the norm.
        block = layers.LipNeXtBlock()
        block.build((None, 4, 6, 8))
        for sides in ((1, 6), (4, 1), (4, 7)):
            with self.assertRaisesRegex(ValueError, "axis [12]"):
                block(np.ones((2, *sides, 8)))
        block = layers.LipNeXtBlock(use_position=False)
        block.build((None, 4, 6, 8))
        self.assertEqual(
            tuple(block(np.ones((2, 3, 9, 8))).shape), (2, 3, 9, 8)
        )


@keras.saving.register_keras_serializable(package="tests")
class Counting(parametrizations.Cayley):
    """A parametrization with a state: how often a training step used it."""

    def initial_state(self, shape):
        return {"uses": np.zeros((), "float32")}

    def constrain(self, matrix, state, training):
        matrix, _ = super().constrain(matrix, {}, training)
        return matrix, {"uses": state["uses"] + 1.0}
