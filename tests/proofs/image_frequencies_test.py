import itertools

import numpy as np
from absl.testing import parameterized

from keras_lip.program.nodes.convolution import Convolution
from keras_lip.proofs.convolution_norm_bound import convolution_norm_bound
from keras_lip.proofs.image_frequencies import ImageFrequencies
from tests.lipschitz_test_case import LipschitzTestCase
from tests.marks import on_pytorch_alone


def convolve(kernel, shape, widths, strides=None, circular=False, groups=1):
    """Returns a convolution and its matrix for images of a shape."""
    axes = kernel.ndim - 2
    strides = strides or (1,) * axes
    node = Convolution(
        kernel, None, strides, (1,) * axes, groups, widths, circular
    )
    inputs = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    outputs = node.apply(inputs)
    return node, outputs.reshape(len(inputs), -1)


@on_pytorch_alone
class ImageFrequenciesTest(LipschitzTestCase):
    @parameterized.parameters(range(4))
    def test_bound_exceeds_the_norm_of_the_matrix(self, seed):
        random = np.random.default_rng(seed)
        for _ in range(25):
            axes = int(random.integers(1, 3))
            window = random.integers(1, 5, axes)
            strides = random.integers(1, 4, axes)
            sides = random.integers(1, 6, axes)
            widths = random.integers(0, 4, (axes, 2))
            if np.any(sides + widths.sum(1) < window):
                continue
            channels, filters = random.integers(1, 3, 2)
            kernel = random.normal(size=(*window, channels, filters))
            node, matrix = convolve(
                kernel,
                (*sides, channels),
                tuple(map(tuple, widths.tolist())),
                tuple(strides.tolist()),
            )
            shape = (*sides.tolist(), int(channels))
            bound = node.constant("l2", shape)
            self.assertGreaterEqual(bound, np.linalg.norm(matrix, 2))
            for_any = node.constant("l2", None)
            self.assertLessEqual(bound, for_any * (1 + 1e-6))

    @parameterized.parameters(
        each
        for each in itertools.product((3, 4, 6), (1, 2), (2, 3, 5), (1, 2))
        if each[0] % each[1] == 0
    )
    def test_bound_is_the_norm_on_a_circular_image(
        self, side, stride, window, groups
    ):
        kernel = self.normal(window, window, 2, 2 * groups).astype("float64")
        width = window - stride
        node, matrix = convolve(
            kernel,
            (side, side, 2 * groups),
            ((width // 2, width - width // 2),) * 2,
            (stride, stride),
            circular=True,
            groups=groups,
        )
        norm = np.linalg.norm(matrix, 2)
        bound = node.constant("l2", (side, side, 2 * groups))
        self.assertGreaterEqual(bound, norm)
        self.assertLess(bound, norm * (1 + 1e-5))

    @parameterized.parameters(1.0, -1.0)
    def test_a_sum_of_neighbors_has_the_norm_of_the_slowest_waves(self, sign):
        # The eigenvalues of the matrix of `x_{i-1} + x_{i+1}` are `2 cos(pi k /
        # (n + 1))`, for `k` from 1 to n. The slowest and the fastest waves have
        # the largest modulus. An odd period has no shift that avoids both.
        kernel = np.array([1.0, 0.0, sign]).reshape(3, 1, 1)
        for side in range(3, 11, 2):
            node, _ = convolve(kernel, (side, 1), ((1, 1),))
            bound = node.constant("l2", (side, 1))
            expected = 2 * np.cos(np.pi / (side + 1))
            self.assertGreaterEqual(bound, expected)
            self.assertLess(bound, expected + 1e-5)

    def test_a_bound_for_images_of_a_size_is_tight(self):
        kernel = np.ones((3, 3, 1, 1))
        node, matrix = convolve(kernel, (16, 16, 1), ((1, 1), (1, 1)))
        norm = np.linalg.norm(matrix, 2)
        self.assertLess(node.constant("l2", (16, 16, 1)), norm * (1 + 1e-5))
        self.assertGreater(node.constant("l2", None), norm * 1.01)

    def test_unknown_sizes_count_as_any_size(self):
        kernel = np.ones((3, 1, 1))
        node, _ = convolve(kernel, (4, 1), ((1, 1),))
        bound = node.constant("l2", None)
        self.assertGreaterEqual(bound, 3.0)
        self.assertEqual(node.constant("l2", (None, 1)), bound)

    def test_a_shorter_period_would_be_false(self):
        # Mutation: taps that reach the image from the other side.
        found = ImageFrequencies.of_image([4], [(1, 1)], [3], [1], False)
        self.assertEqual(found.periods, (5,))
        kernel = np.array([1.0, 0.0, -1.0]).reshape(3, 1, 1)
        _, matrix = convolve(kernel, (4, 1), ((1, 1),))
        norm = np.linalg.norm(matrix, 2)
        shorter = ImageFrequencies((4,), False)
        bound = convolution_norm_bound(kernel, frequencies=shorter)
        self.assertLess(bound, norm)

    @parameterized.parameters(
        ([65, 65], [(1, 1), (1, 1)], [3, 3], [1, 1], False),
        ([2], [(0, 0)], [3], [1], False),
        ([5], [(1, 0)], [3], [2], True),
    )
    def test_no_frequencies(self, *args):
        self.assertIsNone(ImageFrequencies.of_image(*args))
