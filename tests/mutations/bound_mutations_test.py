import importlib
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.bounds.convolution_norm_bound import convolution_norm_bound
from keras_lip.bounds.spectral_norm_bound import spectral_norm_bound
from keras_lip.layers import ConvexPotentialDense
from keras_lip.layers import UnitNormDense
from tests.lipschitz_test_case import to_numpy
from tests.mutations.mutation_test_case import MutationTestCase

RULES = "keras_lip.bounds.rules"
CORE = importlib.import_module(f"{RULES}.core")
CONVOLUTIONAL = importlib.import_module(f"{RULES}.convolutional")
POOLING = importlib.import_module(f"{RULES}.pooling")


def power_iteration(matrix):
    """A bound from a stored vector: what many libraries certify with."""
    vector = np.eye(len(matrix))[0]
    for _ in range(100):
        vector = matrix @ (matrix.T @ vector)
        vector = vector / np.linalg.norm(vector)
    return float(np.linalg.norm(vector @ matrix))


def reshaped_norm(kernel, strides=1, groups=1):
    """The norm of a kernel as a matrix: `keras.layers.SpectralNormalization`"""
    return spectral_norm_bound(kernel.reshape(-1, kernel.shape[-1]))


def circular_norm(kernel, strides=1, groups=1):
    """The norm for circular padding, on images of six pixels."""
    symbols = np.fft.fft(kernel, 6, axis=0)
    return float(np.linalg.norm(symbols, 2, axis=(1, 2)).max())


def join_groups(join):
    def bound(kernel, strides=1, groups=1):
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
            CORE, "spectral_norm_bound", power_iteration
        )
        self.assertCaught(
            mutation,
            *self.checks(model),
            lambda: self.check_attacks(model, x),
        )

    def test_circular_norm_for_zero_padding(self):
        model = self.make_conv([[[1.0]], [[0.0]], [[-1.0]]])
        mutation = mock.patch.object(
            CONVOLUTIONAL, "convolution_norm_bound", circular_norm
        )
        self.assertCaught(mutation, *self.checks(model))

    def test_norm_of_the_reshaped_kernel(self):
        model = self.make_conv(np.ones((3, 1, 1)))
        mutation = mock.patch.object(
            CONVOLUTIONAL, "convolution_norm_bound", reshaped_norm
        )
        self.assertCaught(mutation, *self.checks(model))

    @parameterized.named_parameters(
        ("product", np.prod), ("mean", np.mean), ("first", lambda x: x[0])
    )
    def test_groups_joined_otherwise_than_by_their_largest(self, join):
        model = self.make_conv([[[0.5, 4.0]]], groups=2)
        mutation = mock.patch.object(
            CONVOLUTIONAL, "convolution_norm_bound", join_groups(join)
        )
        self.assertCaught(mutation, lambda: self.check_operator(model))

    @parameterized.named_parameters(
        ("ignored", lambda layer, inputs: inputs),
        (
            "largest_for_smallest",
            lambda layer, inputs: (
                inputs / to_numpy(layer.variance).max() ** 0.5
            ),
        ),
    )
    def test_deviation_of_the_inputs(self, rule):
        model = keras.Sequential(
            [
                keras.Input((3,)),
                layers.Normalization(mean=[0, 0, 0], variance=[4, 1, 0.01]),
                layers.Dense(1, kernel_initializer="ones"),
            ]
        )
        x = self.normal(4, 3).astype("float64")
        self.assertCaught(
            self.mutate_rule(layers.Normalization, rule),
            lambda: self.check_operator(model),
            lambda: self.check_attacks(model, x),
        )

    @parameterized.named_parameters(
        ("gamma_ignored", [1.0, 1.0], [4.0, 1.0]),
        ("statistics_of_birth", [1.0, 8.0], [1.0, 1.0]),
    )
    def test_batch_normalization_that_is_not_what_runs(self, gamma, variance):
        layer = layers.BatchNormalization(epsilon=0.0)
        model = keras.Sequential([keras.Input((2,)), layer])
        layer.gamma.assign([1.0, 8.0])
        layer.moving_variance.assign([4.0, 1 / 16])
        wrong = max(np.divide(gamma, np.sqrt(variance)))
        mutation = self.mutate_rule(
            layers.BatchNormalization, lambda layer, inputs: inputs * wrong
        )
        self.assertCaught(mutation, lambda: self.check_operator(model))

    def test_branches_joined_by_their_largest(self):
        inputs = keras.Input((2,))
        outputs = layers.Add()([inputs, layers.Rescaling(2.0)(inputs)])
        model = keras.Model(inputs, outputs)
        mutation = self.mutate_rule(
            layers.Add, lambda layer, inputs: max(inputs)
        )
        # An audit runs layers of one input alone.
        self.assertCaught(mutation, lambda: self.check_operator(model))
        head = keras.Model(inputs, UnitNormDense(2)(outputs))
        x = self.normal(4, 2).astype("float64")
        self.assertCaught(mutation, lambda: self.check_attacks(head, x))

    @parameterized.named_parameters(
        ("average", layers.AveragePooling1D, True),
        ("max", layers.MaxPooling1D, False),
    )
    def test_overlap_of_windows_ignored(self, layer_cls, is_linear):
        model = keras.Sequential([keras.Input((6, 1)), layer_cls(3, 1)])
        mutation = mock.patch.object(POOLING, "_overlap", lambda layer: 1)
        operator, estimates = self.checks(model)
        self.assertCaught(mutation, estimates)
        if is_linear:
            self.assertCaught(mutation, operator)

    def test_bound_of_one_out_of_faith(self):
        # The step is four times too long for the vector of its state.
        layer = ConvexPotentialDense(2, activation="linear")
        model = keras.Sequential([keras.Input((2,)), layer])
        layer.kernel.assign(np.diag([2.0, 1.0]))
        layer.power_iteration_vector.assign([[0.0, 1.0]])
        mutation = mock.patch.object(
            ConvexPotentialDense, "lipschitz_bound", lambda self: 1.0
        )
        x = np.array([[1.0, 2.0], [-1.0, 3.0]])
        self.assertCaught(
            mutation,
            lambda: self.check_operator(model),
            lambda: self.check_attacks(model, x),
        )

    def test_bound_of_before_the_last_step(self):
        layer = UnitNormDense(2)
        model = keras.Sequential([keras.Input((2,)), layer])

        def check():
            layer.free_kernel.assign(np.eye(2))
            self.check_operator(model)
            layer.free_kernel.assign(np.ones((2, 2)))
            self.check_operator(model)

        measure = UnitNormDense.lipschitz_bound
        kept = {}

        def keep(layer):
            return kept.setdefault(id(layer), measure(layer))

        mutation = mock.patch.object(UnitNormDense, "lipschitz_bound", keep)
        self.assertCaught(mutation, check)
