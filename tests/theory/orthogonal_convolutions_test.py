"""Li et al., 2019, https://arxiv.org/abs/1911.00937, sections 3.1 to 3.3."""

import itertools

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.linalg import block_product
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def compose(factors, matrix):
    """Composes a 1-D kernel of two-tap factors, and then a matrix."""
    identity = np.eye(len(matrix))
    kernels = [np.stack([p, identity - p]) for p in factors]
    return to_numpy(block_product([*kernels, matrix[np.newaxis]], 1))


def diagonal(subset, dim):
    """Returns the projector onto a subset of the axes."""
    return np.diag([float(index in subset) for index in range(dim)])


class OrthogonalConvolutionsTest(LipschitzTestCase):
    def draw_orthogonal(self, dim):
        orthogonal, _ = np.linalg.qr(self.rng.normal(size=(dim, dim)))
        return orthogonal

    def draw_basis(self, dim, rank):
        return self.draw_orthogonal(dim)[:, :rank]

    def draw_projector(self, dim, rank):
        basis = self.draw_basis(dim, rank)
        return basis @ basis.T

    def components_of(self, kernel):
        """Returns the sign and the exponent of the determinant.

        The matrix of a 1-D orthogonal kernel at the frequency `z` has the
        determinant `sign * z^exponent`. Both are constant along paths of
        orthogonal kernels.
        """
        frequencies = np.exp(-2j * np.pi * np.arange(64) / 64)
        powers = frequencies[:, np.newaxis] ** np.arange(len(kernel))
        symbols = np.tensordot(powers, kernel, 1)
        determinants = np.linalg.det(symbols)
        np.testing.assert_allclose(np.abs(determinants), 1.0, rtol=1e-4)
        turns = np.angle(np.roll(determinants, -1) / determinants).sum()
        exponent = round(-turns / (2 * np.pi))
        sign = determinants * frequencies**-exponent
        np.testing.assert_allclose(sign, sign[0].real, atol=1e-4)
        return round(sign[0].real), exponent

    @parameterized.product(dim=(2, 3), sign=(-1, 1))
    def test_sign_and_sum_of_ranks_label_a_component(self, dim, sign):
        for ranks in itertools.product(range(dim + 1), repeat=2):
            matrix = self.draw_orthogonal(dim)
            matrix[:, 0] *= sign * np.linalg.det(matrix)
            factors = [self.draw_projector(dim, rank) for rank in ranks]
            found = self.components_of(compose(factors, matrix))
            self.assertEqual(found, (sign, 2 * dim - sum(ranks)))

    @parameterized.parameters((2, 2), (2, 3), (3, 2), (2, 4), (3, 3))
    def test_theorem_1_counts_the_components(self, dim, taps):
        # Projectors of given ranks are connected. So are two choices of ranks
        # if they have a kernel in common.
        subsets = [
            subset
            for size in range(dim + 1)
            for subset in itertools.combinations(range(dim), size)
        ]
        component = {}
        kernels = {}
        for choice in itertools.product(subsets, repeat=taps - 1):
            ranks = tuple(map(len, choice))
            factors = [diagonal(subset, dim) for subset in choice]
            kernel = compose(factors, np.eye(dim)).tobytes()
            component.setdefault(ranks, {ranks})
            other = kernels.setdefault(kernel, ranks)
            if component[other] is not component[ranks]:
                component[other] |= component[ranks]
                for each in component[ranks]:
                    component[each] = component[other]
        joined = {frozenset(each) for each in component.values()}
        # Each of them is the set of all ranks with the same sum.
        self.assertEqual(
            sorted(len({sum(ranks) for ranks in each}) for each in joined),
            [1] * len(joined),
        )
        # Twice, for the sign of the determinant of `H`.
        self.assertEqual(2 * len(joined), 2 * (taps - 1) * dim + 2)

    @parameterized.parameters("cayley", "exponential")
    def test_weights_do_not_leave_the_component(self, parametrization):
        layer = layers.BCOPConv1D(4, 4, parametrization=parametrization)
        layer.build((None, 8, 4))
        found = set()
        for scale in (0.1, 1.0, 10.0):
            for weight in layer.trainable_weights:
                weight.assign(self.normal(*weight.shape, scale=scale))
            found.add(self.components_of(to_numpy(layer.kernel)))
        # Projectors of rank two, in three factors, and a rotation.
        self.assertEqual(found, {(1, 6)})

    @parameterized.parameters(
        ((0, 0, 0, 0),), ((2, 1, 0, 2),), ((1, 2, 2, 1),), ((0, 2, 1, 0),)
    )
    def test_theorem_3_embeds_all_ranks_in_halves_of_twice_the_channels(
        self, ranks
    ):
        dim = 2
        matrix = self.draw_orthogonal(dim)
        projectors = [self.draw_projector(dim, rank) for rank in ranks]
        # Its windows are two by one and one by two in turns.
        kernels = []
        for index, projector in enumerate(projectors):
            taps = np.stack([projector, np.eye(dim) - projector])
            window = (1, 2) if index % 2 else (2, 1)
            kernels.append(taps.reshape(*window, dim, dim))
        kernels.append(matrix.reshape(1, 1, dim, dim))
        expected = self.compose_by_hand(kernels)

        layer = layers.BCOPConv2D(2 * dim, 3, parametrization="qr")
        layer.build((None, 4, 4, 2 * dim))
        bases = []
        for index, projector in enumerate(projectors):
            embedded = np.zeros((4, 4))
            embedded[:dim, :dim] = projector
            rest = dim - ranks[index]
            embedded[dim:, dim:] = diagonal(range(rest), dim)
            if index >= 2:
                # The layer reverses the taps of every second turn.
                embedded = np.eye(4) - embedded
            values, vectors = np.linalg.eigh(embedded)
            self.assertAllClose(values, [0, 0, 1, 1], 1e-12)
            bases.append(vectors[:, 2:])
        parametrization = layer.parametrization
        free = [parametrization.from_matrix(basis) for basis in bases]
        layer.free_projectors.assign(
            np.reshape(list(map(to_numpy, free)), layer.free_projectors.shape)
        )
        larger = np.eye(4)
        larger[:dim, :dim] = matrix
        layer.free_kernel.assign(
            np.reshape(
                to_numpy(parametrization.from_matrix(larger)),
                layer.free_kernel.shape,
            )
        )
        kernel = to_numpy(layer.kernel)
        self.assertAllClose(kernel[..., :dim, :dim], expected, 5e-6)
        # The first outputs do not depend on the other inputs.
        self.assertAllClose(
            kernel[..., dim:, :dim], np.zeros((3, 3, 2, 2)), 5e-6
        )

    def compose_by_hand(self, kernels):
        found = kernels[0]
        for kernel in kernels[1:]:
            shape = np.add(found.shape[:2], kernel.shape[:2]) - 1
            both = np.zeros((*shape, *found.shape[2:]))
            for p in np.ndindex(found.shape[:2]):
                for q in np.ndindex(kernel.shape[:2]):
                    both[p[0] + q[0], p[1] + q[1]] += found[p] @ kernel[q]
            found = both
        return found

    def test_residual_sum_may_be_orthogonal(self):
        # Section 5.1 allows residual connections only around constants. This
        # is so for averages, not for `x - 2 v (v . x)`.
        vector = self.draw_basis(4, 1)
        block = layers.ConvexPotentialDense(
            1,
            activation="linear",
            step=2.0,
            kernel_initializer=keras.initializers.Constant(vector),
        )
        matrix = to_numpy(block(np.eye(4, dtype="float32")))
        self.assertAllClose(matrix @ matrix.T, np.eye(4), 1e-5)
        self.assertAllClose(vector.T @ matrix, -vector.T, 1e-5)
        average = (np.eye(4) + matrix) / 2
        self.assertAlmostEqual(np.linalg.svd(average)[1].min(), 0.0, delta=1e-5)
