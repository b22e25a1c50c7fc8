import numpy as np

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class ConvexPotentialExpansionTest(LipschitzTestCase):
    def test_contract_of_dense_blocks(self):
        self.run_lipschitz_layer_test(
            layers.ConvexPotentialExpansion,
            init_kwargs={
                "blocks": [layers.ConvexPotentialDense(4) for _ in range(3)]
            },
            input_shape=(5,),
            expected_output_shape=(15,),
        )

    def test_contract_of_convolutional_blocks(self):
        self.run_lipschitz_layer_test(
            layers.ConvexPotentialExpansion,
            init_kwargs={
                "blocks": [
                    layers.ConvexPotentialConv2D(
                        2, 3, data_format="channels_first"
                    )
                    for _ in range(2)
                ]
            },
            input_shape=(3, 4, 4),
            expected_output_shape=(6, 4, 4),
            expected_bound=None,
        )

    def test_outputs_are_those_of_the_blocks(self):
        blocks = [layers.ConvexPotentialDense(4) for _ in range(4)]
        layer = layers.ConvexPotentialExpansion(blocks)
        x = self.normal(3, 2, 5)
        expected = [to_numpy(block(x)) / 2 for block in blocks]
        self.assertAllClose(layer(x), np.concatenate(expected, axis=-1))

    def test_bounds_of_the_blocks_count(self):
        # Steps that are too long: bounds of 1 and of |0.1 * 30 - 1| = 2.
        blocks = [layers.ConvexPotentialDense(2, step=0.1) for _ in range(2)]
        layer = layers.ConvexPotentialExpansion(blocks)
        layer.build((None, 2))
        blocks[0].kernel.assign(np.eye(2))
        blocks[1].kernel.assign(np.eye(2) * 30**0.5)
        self.assertAllClose(layer.lipschitz_bound(), (5 / 2) ** 0.5, 1e-5)

    def test_bound_is_attained_by_equal_blocks(self):
        # Each block maps x to x - 3 x.
        blocks = [
            layers.ConvexPotentialDense(2, step=0.75, activation="linear")
            for _ in range(3)
        ]
        layer = layers.ConvexPotentialExpansion(blocks)
        layer.build((None, 2))
        for block in blocks:
            block.kernel.assign(2 * np.eye(2))
        matrix = to_numpy(layer(np.eye(2, dtype="float32")))
        norm = self.singular_values(matrix).max()
        self.assertAllClose(norm, 2.0, 1e-6)
        bound = layer.lipschitz_bound()
        self.assertAllClose(bound, 2.0, 1e-6)
        self.assertGreaterEqual(bound, norm * (1 - 1e-7))

    def test_blocks_train(self):
        blocks = [layers.ConvexPotentialDense(4) for _ in range(2)]
        layer = layers.ConvexPotentialExpansion(blocks)
        x = self.normal(3, 5)
        layer(x)
        self.assertLen(layer.trainable_weights, 4)
        before = to_numpy(blocks[1].power_iteration_vector).copy()
        layer(x, training=True)
        moved = to_numpy(blocks[1].power_iteration_vector)
        self.assertGreater(np.abs(moved - before).max(), 1e-3)

    def test_invalid_blocks_are_refused(self):
        dense = layers.ConvexPotentialDense(4)
        conv = layers.ConvexPotentialConv2D(4, 3)
        for blocks in (dense, [layers.MaxMin()], "ab"):
            with self.assertRaisesRegex(TypeError, "`blocks` must be a list"):
                layers.ConvexPotentialExpansion(blocks)
        for blocks in ([], [dense, conv]):
            with self.assertRaisesRegex(ValueError, "of one kind"):
                layers.ConvexPotentialExpansion(blocks)
