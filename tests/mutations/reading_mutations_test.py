import importlib
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

import keras_lip as kl
from keras_lip.program.nodes.affine import Affine
from keras_lip.program.nodes.convolution import Convolution
from keras_lip.program.nodes.dense import Dense
from tests.lipschitz_test_case import to_numpy
from tests.mutations.mutation_test_case import MutationTestCase

PRODUCTS = importlib.import_module(
    "keras_lip.program.freezing.stock.kernel_layers"
)
FROZEN_KERNEL = importlib.import_module("keras_lip.layers.constrained_kernel")


def scale_by(find):
    """Reads a layer as a product with constants."""

    def read(layer, x):
        scale = np.asarray(find(layer), dtype="float64")
        return x.then(Affine(scale, np.zeros_like(scale)))

    return read


def normalize_by(gamma=True, variance=True, epsilon=True):
    """Reads a batch normalization, but for what is false."""

    def find(layer):
        found = to_numpy(layer.moving_variance).astype("float64")
        found = found if variance else np.ones_like(found)
        scale = 1 / np.sqrt(found + (layer.epsilon if epsilon else 0.0))
        return scale * to_numpy(layer.gamma) if gamma else scale

    return scale_by(find)


class ReadingMutationsTest(MutationTestCase):
    """Mistakes in what a model is read as, which its answers contradict."""

    def make_dense(self, activation=None):
        model = keras.Sequential(
            [keras.Input((2,)), layers.Dense(2, activation)]
        )
        model.layers[0].set_weights([np.diag([2.0, 1.0]), np.array([1.0, 0.5])])
        return model, np.array([[1.0, 2.0], [-3.0, -1.0]])

    def read_kernel(self, layer):
        return to_numpy(layer.kernel).astype("float64")

    def test_bias_ignored(self):
        model, x = self.make_dense()

        def read(layer, inputs):
            return inputs.then(Dense(self.read_kernel(layer), None))

        self.assertCaught(
            self.mutate_freezer(layers.Dense, read),
            lambda: self.check_live(model, x),
            lambda: self.check_radii(model, x),
        )

    def test_activation_ignored(self):
        model, x = self.make_dense("tanh")
        mutation = mock.patch.object(
            PRODUCTS, "activate", lambda inputs, activation: inputs
        )
        self.assertCaught(mutation, lambda: self.check_live(model, x))

    def test_kernel_transposed(self):
        model, x = self.make_dense()
        model.layers[0].kernel.assign([[1.0, 3.0], [0.0, 1.0]])

        def read(layer, inputs):
            kernel, bias = self.read_kernel(layer).T, to_numpy(layer.bias)
            return inputs.then(Dense(kernel, bias.astype("float64")))

        self.assertCaught(
            self.mutate_freezer(layers.Dense, read),
            lambda: self.check_live(model, x),
        )

    def test_kernel_of_the_first_reading_kept(self):
        model, x = self.make_dense()
        kept = {}

        def keep(layer, inputs):
            kernel = kept.setdefault(id(layer), self.read_kernel(layer))
            bias = to_numpy(layer.bias).astype("float64")
            return inputs.then(Dense(kernel, bias))

        def check():
            for scale in 1.0, 3.0:
                model.layers[0].kernel.assign(scale * np.eye(2))
                self.check_live(model, x)
                self.check_operator(model)

        self.assertCaught(self.mutate_freezer(layers.Dense, keep), check)

    @parameterized.named_parameters(
        ("ignored", lambda variance: np.ones_like(variance)),
        (
            "largest_for_smallest",
            lambda variance: np.full_like(variance, variance.max()),
        ),
        ("variance_for_deviation", np.square),
    )
    def test_deviation_of_the_inputs(self, change):
        layer = layers.Normalization(mean=[0] * 3, variance=[4, 1, 1 / 64])
        dense = layers.Dense(1, kernel_initializer="ones")
        model = keras.Sequential([keras.Input((3,)), layer, dense])
        x = self.normal(4, 3).astype("float64")
        mutation = self.mutate_freezer(
            layers.Normalization,
            scale_by(
                lambda layer: 1 / np.sqrt(change(to_numpy(layer.variance)[0]))
            ),
        )
        self.assertCaught(mutation, lambda: self.check_live(model, x))
        if change is not np.square:
            self.assertCaught(mutation, lambda: self.check_operator(model))

    @parameterized.named_parameters(
        ("gamma_ignored", {"gamma": False}),
        ("statistics_of_birth", {"variance": False}),
    )
    def test_batch_normalization_that_is_not_what_runs(self, options):
        layer = layers.BatchNormalization(epsilon=0.0)
        model = keras.Sequential([keras.Input((2,)), layer])
        layer.gamma.assign([1.0, 8.0])
        layer.moving_variance.assign([4.0, 1 / 16])
        self.assertCaught(
            self.mutate_freezer(
                layers.BatchNormalization, normalize_by(**options)
            ),
            lambda: self.check_operator(model),
            lambda: self.check_live(model, np.ones((1, 2))),
        )

    def test_epsilon_of_a_batch_normalization_ignored(self):
        model = keras.Sequential(
            [keras.Input((2,)), layers.BatchNormalization(epsilon=1e-3)]
        )
        self.assertCaught(
            self.mutate_freezer(
                layers.BatchNormalization, normalize_by(epsilon=False)
            ),
            lambda: self.check_live(model, np.array([[1.0, 2.0]])),
        )

    def test_even_kernel_padded_on_the_other_side(self):
        layer = layers.Conv1D(1, 2, padding="same", use_bias=False)
        model = keras.Sequential([keras.Input((3, 1)), layer, layers.Flatten()])
        layer.set_weights([np.array([[[1.0]], [[-2.0]]])])

        def read(layer, x):
            kernel = self.read_kernel(layer)
            return x.then(Convolution(kernel, None, (1,), (1,), 1, ((1, 0),)))

        x = np.array([[[1.0], [2.0], [3.0]]])
        self.assertCaught(
            self.mutate_freezer(layers.Conv1D, read),
            lambda: self.check_live(model, x),
        )

    def test_layer_of_ours_read_as_the_kernel_before_it_is_constrained(self):
        layer = kl.layers.UnitNormDense(2)
        model = keras.Sequential([keras.Input((3,)), layer])
        mutation = mock.patch.object(
            FROZEN_KERNEL,
            "read_kernel",
            lambda layer, kernel: to_numpy(layer.free_kernel).astype(float),
        )
        layer.free_kernel.assign(np.ones((3, 2)))
        self.assertCaught(
            mutation, lambda: self.check_live(model, np.ones((1, 3)))
        )

    def test_layer_that_computes_otherwise_than_it_is_read(self):
        model, x = self.make_dense()
        call = layers.Dense.call

        def sharper(layer, inputs, training=None):
            return 10 * call(layer, inputs)

        mutation = mock.patch.object(layers.Dense, "call", sharper)
        self.assertCaught(
            mutation,
            lambda: self.check_live(model, x),
            lambda: self.check_operator(model),
        )
