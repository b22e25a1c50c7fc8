from absl.testing import parameterized

from keras_lip import layers
from keras_lip.applications import WideResNet
from tests.applications.application_test_case import ApplicationTestCase

SMALL = {"classes": 3, "widen_factor": 2, "width": 2}


class WideResNetTest(ApplicationTestCase):
    def test_parameters_of_the_published_size(self):
        # Each group has a shortcut and a branch of two convolutions.
        pairs, previous = [(3, 16)], 16
        for filters in (160, 320, 640):
            pairs += 2 * [(previous, filters)] + [(filters, filters)]
            previous = filters
        expected = sum(9 * p * q + q for p, q in pairs)
        # Two weights for each sum, and the dense layers.
        expected += 3 * 2 + 4 * 640 * 640 + 640 + 640 * 10 + 10
        self.assertEqual(self.count_parameters(WideResNet), expected)

    def test_the_network_is_bounded_by_one(self):
        model = WideResNet(
            (16, 16, 3), convolution="aol", padding_mode="zeros", **SMALL
        )
        self.run_application_test(model, 1 + 1e-4)

    @parameterized.parameters((10, 0), (22, 2))
    def test_blocks_are_convex_sums(self, depth, more):
        model = WideResNet((16, 32, 3), depth=depth, **SMALL)
        sums = [
            layer
            for layer in model.layers
            if isinstance(layer, layers.ConvexAdd)
        ]
        shapes = [(16, 32, 4), (8, 16, 8), (4, 8, 16)]
        self.assertEqual(
            [tuple(add.output.shape[1:]) for add in sums],
            [shape for shape in shapes for _ in range(1 + more)],
        )
        widening = set(range(0, len(sums), 1 + more))
        for i, add in enumerate(sums):
            skip, branch = add.input
            # A shortcut of its own only where the channels change.
            found = skip._keras_history.operation
            self.assertEqual(
                isinstance(found, layers.ConvexAdd), i not in widening
            )
            branch = branch._keras_history.operation
            self.assertIsInstance(branch, layers.CayleyConv2D)
        kinds = [type(layer).__name__ for layer in model.layers]
        self.assertEqual(kinds.count("CayleyConv2D"), 1 + 3 * (3 + 2 * more))
        self.assertEqual(kinds.count("MaxMin"), 2 * len(sums) + 2)
        pooled = [
            tuple(layer.output.shape[1:])
            for layer in model.layers
            if isinstance(layer, layers.ScaledAveragePooling2D)
        ]
        expected = 2 * [(8, 16, 8)] + 2 * [(4, 8, 16)] + [(1, 2, 16)]
        self.assertEqual(pooled, expected)

    @parameterized.parameters(4, 9, 11)
    def test_other_depths_are_refused(self, depth):
        with self.assertRaisesRegex(
            ValueError, f"`depth` must be 10 or 6 more.* depth={depth}"
        ):
            WideResNet(depth=depth)
