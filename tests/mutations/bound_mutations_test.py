import importlib
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.layers import ConvexPotentialDense
from keras_lip.layers import UnitNormDense
from keras_lip.program.node import Node
from keras_lip.program.nodes.affine import Affine
from keras_lip.program.nodes.average_pooling import WindowPool
from keras_lip.program.nodes.composite import Residual
from keras_lip.program.nodes.pooling import MaxPool
from keras_lip.proofs.convolution_norm_bound import convolution_norm_bound
from keras_lip.proofs.matrix_norms import spectral_norm_bound
from tests.lipschitz_test_case import to_numpy
from tests.mutations.mutation_test_case import MutationTestCase

DENSE = importlib.import_module("keras_lip.program.nodes.dense")
CONVOLUTION = importlib.import_module("keras_lip.program.nodes.convolution")
COMPOSITE = importlib.import_module("keras_lip.program.nodes.composite")
MERGES = importlib.import_module("keras_lip.program.nodes.merges")
BOUNDING = importlib.import_module("keras_lip.program.bounding")
RECOGNITION = importlib.import_module("keras_lip.program.recognition")


def power_iteration(matrix):
    """A bound from a stored vector: what many libraries certify with."""
    vector = np.eye(len(matrix))[0]
    for _ in range(100):
        vector = matrix @ (matrix.T @ vector)
        vector = vector / np.linalg.norm(vector)
    return float(np.linalg.norm(vector @ matrix))


def reshaped_norm(kernel, strides=1, groups=1, frequencies=None):
    """The norm of a kernel as a matrix: `keras.layers.SpectralNormalization`"""
    return spectral_norm_bound(kernel.reshape(-1, kernel.shape[-1]))


def circular_norm(kernel, strides=1, groups=1, frequencies=None):
    """The norm for circular padding, on images of six pixels."""
    symbols = np.fft.fft(kernel, 6, axis=0)
    return float(np.linalg.norm(symbols, 2, axis=(1, 2)).max())


def join_groups(join):
    def bound(kernel, strides=1, groups=1, frequencies=None):
        parts = np.split(kernel, groups, axis=-1)
        return float(join([convolution_norm_bound(part) for part in parts]))

    return bound


class BoundMutationsTest(MutationTestCase):
    def make_conv(self, kernel, groups=1):
        kernel = np.asarray(kernel, dtype=float)
        layer = layers.Conv1D(
            kernel.shape[-1],
            len(kernel),
            padding="same",
            groups=groups,
            use_bias=False,
        )
        model = keras.Sequential(
            [keras.Input((6, kernel.shape[1] * groups)), layer]
        )
        layer.set_weights([kernel])
        return model

    def checks(self, model):
        return (
            lambda: self.check_operator(model),
            lambda: self.check_audit(model),
        )

    def test_power_iteration_for_a_bound(self):
        # The stored vector is orthogonal to the direction that dominates.
        model = keras.Sequential(
            [keras.Input((3,)), layers.Dense(3), UnitNormDense(2)]
        )
        kernel = np.diag([1.0, 3.0, 0.5])
        model.layers[0].set_weights([kernel, np.zeros(3)])
        x = self.normal(4, 3).astype("float64")
        head = np.eye(3)[:, :2]
        model.layers[1].free_kernel.assign(head + 0.1)
        mutation = mock.patch.object(
            DENSE, "spectral_norm_bound", power_iteration
        )
        self.assertCaught(
            mutation,
            *self.checks(model),
            lambda: self.check_attacks(model, x),
        )

    def test_circular_norm_for_zero_padding(self):
        model = self.make_conv([[[1.0]], [[0.0]], [[-1.0]]])
        mutation = mock.patch.object(
            CONVOLUTION, "convolution_norm_bound", circular_norm
        )
        self.assertCaught(mutation, *self.checks(model))

    def test_norm_of_the_reshaped_kernel(self):
        model = self.make_conv(np.ones((3, 1, 1)))
        mutation = mock.patch.object(
            CONVOLUTION, "convolution_norm_bound", reshaped_norm
        )
        self.assertCaught(mutation, *self.checks(model))

    @parameterized.named_parameters(
        ("product", np.prod), ("mean", np.mean), ("first", lambda x: x[0])
    )
    def test_groups_joined_otherwise_than_by_their_largest(self, join):
        model = self.make_conv([[[0.5, 4.0]]], groups=2)
        mutation = mock.patch.object(
            CONVOLUTION, "convolution_norm_bound", join_groups(join)
        )
        self.assertCaught(mutation, lambda: self.check_operator(model))

    @parameterized.named_parameters(
        ("ignored", lambda scale: 1.0),
        ("largest_for_smallest", lambda scale: np.abs(scale).min()),
        ("sign_for_size", np.max),
    )
    def test_deviation_of_the_inputs(self, measure):
        # Factors of 1/2, 1 and -32.
        inputs = keras.Input((3,))
        normalize = layers.Normalization(mean=[0] * 3, variance=[4, 1, 1 / 64])
        x = normalize(inputs) * np.array([1.0, 1.0, -4.0], "float32")
        outputs = layers.Dense(1, kernel_initializer="ones")(x)
        model = keras.Model(inputs, outputs)
        x = self.normal(4, 3).astype("float64")
        self.assertCaught(
            self.mutate_proof(
                Affine, lambda node, bound: float(measure(node.scale))
            ),
            lambda: self.check_operator(model),
            lambda: self.check_attacks(model, x),
        )

    @parameterized.named_parameters(
        ("l2", "l2", BOUNDING, "add_up", lambda *bounds: max(bounds)),
        ("linf", "linf", MERGES, "add_up", lambda *bounds: max(bounds)),
    )
    def test_branches_joined_by_their_largest(self, norm, module, name, wrong):
        inputs = keras.Input((2,))
        branch = layers.Dense(2, use_bias=False)
        outputs = layers.Add()([inputs, branch(inputs)])
        model = keras.Model(inputs, outputs)
        branch.set_weights([2 * np.eye(2)])
        mutation = mock.patch.object(module, name, wrong)
        # An audit runs layers of one input alone.
        self.assertCaught(mutation, lambda: self.check_operator(model, norm))
        x = self.normal(4, 2).astype("float64")
        self.assertCaught(
            mutation, lambda: self.check_attacks(model, x, norm=norm)
        )

    def test_tensors_side_by_side_joined_by_their_largest(self):
        inputs = keras.Input((1,))
        first, second = (layers.Dense(2, use_bias=False) for _ in range(2))
        both = layers.Concatenate()([first(inputs), second(inputs)])
        model = keras.Model(inputs, both)
        first.set_weights([np.array([[3.0, 4.0]])])
        second.set_weights([np.array([[5.0, 0.0]])])
        mutation = mock.patch.object(
            MERGES, "hypot_up", lambda *bounds: max(bounds)
        )
        self.assertCaught(mutation, lambda: self.check_operator(model))

    def test_entries_that_are_taken_twice_counted_once(self):
        inputs = keras.Input((3,))
        both = layers.Concatenate()([inputs[:, :2], inputs[:, 1:]])
        mutation = mock.patch.object(BOUNDING, "sqrt_up", lambda copies: 1.0)
        model = keras.Model(inputs, both)
        self.assertCaught(mutation, lambda: self.check_operator(model))

    @parameterized.named_parameters(
        ("average", layers.AveragePooling1D, WindowPool, True),
        ("max", layers.MaxPooling1D, MaxPool, False),
    )
    def test_overlap_of_windows_ignored(self, layer_cls, node_cls, is_linear):
        model = keras.Sequential([keras.Input((6, 1)), layer_cls(3, 1)])
        # Windows side by side: an average is a product with 1 / sqrt(3).
        apart = 3**-0.5 if is_linear else 1.0
        mutation = self.mutate_proof(node_cls, lambda node, bound: apart)
        operator, estimates = self.checks(model)
        self.assertCaught(mutation, estimates)
        if is_linear:
            self.assertCaught(mutation, operator)

    def make_overlong_step(self):
        # The step is four times too long for the vector of its state.
        layer = ConvexPotentialDense(2, activation="linear")
        model = keras.Sequential([keras.Input((2,)), layer])
        layer.kernel.assign(np.diag([2.0, 1.0]))
        layer.power_iteration_vector.assign([[0.0, 1.0]])
        return model, np.array([[1.0, 2.0], [-1.0, 3.0]])

    def test_bound_of_one_out_of_faith(self):
        model, x = self.make_overlong_step()
        self.assertCaught(
            mock.patch.object(Residual, "prove", lambda *_: 1.0),
            *self.checks(model),
            lambda: self.check_attacks(model, x),
        )

    def test_claim_of_one_out_of_faith(self):
        class Threefold(layers.Dense):
            def lipschitz_bound(self):
                kernel = to_numpy(self.kernel).astype("float64")
                return spectral_norm_bound(kernel)

        layer = Threefold(2, use_bias=False)
        model = keras.Sequential([keras.Input((2,)), layer])
        layer.set_weights([np.diag([3.0, 1.0])])
        x = np.array([[1.0, 2.0], [-1.0, 3.0]])
        self.assertCaught(
            mock.patch.object(Threefold, "lipschitz_bound", lambda *_: 1.0),
            *self.checks(model),
            lambda: self.check_attacks(model, x),
        )

    def test_step_of_a_block_ignored(self):
        # It is two, and the constant seven.
        model, x = self.make_overlong_step()
        mutation = self.mutate_proof(
            Residual,
            lambda node, bound: max(
                1.0, spectral_norm_bound(node.up.kernel) ** 2 - 1
            ),
        )
        self.assertCaught(
            mutation,
            lambda: self.check_operator(model),
            lambda: self.check_attacks(model, x),
        )

    def make_block(self, shape, up, down):
        """A block of stock layers, `x - down(up(x))`."""
        inputs = keras.Input(shape)
        outputs = layers.Subtract()([inputs, down(up(inputs))])
        return keras.Model(inputs, outputs)

    def test_what_the_halves_of_a_block_differ_in_ignored(self):
        up, down = (layers.Dense(2, use_bias=False) for _ in range(2))
        model = self.make_block((2,), up, down)
        up.set_weights([np.diag([2.0, 1.0])])
        down.set_weights([np.diag([2.0, -1.0])])
        x = np.array([[1.0, 2.0], [-1.0, 3.0]])

        def forget(kernel, back):
            return max(1.0, spectral_norm_bound(kernel) ** 2 / 4)

        mutation = mock.patch.object(COMPOSITE, "residual_bound", forget)
        self.assertCaught(
            mutation,
            *self.checks(model),
            lambda: self.check_attacks(model, x),
        )

    def test_halves_that_are_padded_alike_taken_for_adjoints(self):
        # The entry before, less its own: not the identity less a square.
        up, down = (
            layers.Conv1D(1, 2, padding="causal", use_bias=False)
            for _ in range(2)
        )
        model = self.make_block((6, 1), up, down)
        up.set_weights([np.array([[[1.0]], [[0.0]]])])
        down.set_weights([np.array([[[0.0]], [[1.0]]])])
        mutation = mock.patch.object(
            RECOGNITION, "_are_adjoint", lambda up, down: True
        )
        self.assertCaught(mutation, *self.checks(model))

    def test_bound_of_before_the_last_step(self):
        kept = {}

        def keep(layer):
            kernel = to_numpy(layer.kernel).astype("float64")
            return kept.setdefault(id(layer), spectral_norm_bound(kernel))

        mutation = mock.patch.object(UnitNormDense, "lipschitz_bound", keep)
        self.assertCaught(mutation, self.check_steps)

    def test_proofs_kept_by_kind_and_not_by_numbers(self):
        mutation = mock.patch.object(
            Node, "digest", property(lambda node: type(node).__name__)
        )
        self.assertCaught(mutation, self.check_steps)

    def check_steps(self):
        """The bound is that of the weights, before and after a step."""
        layer = UnitNormDense(2)
        model = keras.Sequential([keras.Input((2,)), layer])
        layer.free_kernel.assign(np.eye(2))
        self.check_operator(model)
        layer.free_kernel.assign(np.ones((2, 2)))
        self.check_operator(model)
