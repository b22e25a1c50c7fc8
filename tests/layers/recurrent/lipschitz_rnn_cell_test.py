import math
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip import models
from keras_lip.bounds import contraction_bound
from keras_lip.bounds import lipschitz_bound
from keras_lip.certificates import certify
from keras_lip.program import freeze
from keras_lip.program.nodes import recurrence
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.elementwise import Elementwise
from keras_lip.program.nodes.recurrence import Recurrence
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def all_states(length):
    """The norm of the triangular matrix of ones."""
    return 1 / (2 * math.sin(math.pi / (4 * length + 2)))


class LipschitzRNNCellTest(LipschitzTestCase):
    def make(self, length=5, size=3, units=4, **kwargs):
        cell = layers.LipschitzRNNCell(units, bias_initializer="normal")
        rnn = keras.layers.RNN(cell, **kwargs)
        return keras.Sequential([keras.Input((length, size)), rnn])

    @parameterized.product(
        length=[1, 4], sequences=[False, True], backwards=[False, True]
    )
    def test_the_program_computes_what_runs(self, length, sequences, backwards):
        model = self.make(
            length, return_sequences=sequences, go_backwards=backwards
        )
        x = self.normal(8, length, 3)
        outputs = freeze(model).run(x)
        shape = (8, length, 4) if sequences else (8, 4)
        self.assertEqual(outputs.shape, shape)
        self.assertAllClose(model(x), outputs, atol=1e-5)
        # The definition, step by step.
        cell = model.layers[-1].cell
        kernel, recurrent = (
            to_numpy(part.kernel) for part in (cell.inward, cell.recurrent)
        )
        state, states = np.zeros((8, 4)), []
        for step in range(length):
            step = length - 1 - step if backwards else step
            state = x[:, step] @ kernel + state @ recurrent
            pairs = (state + to_numpy(cell.inward.bias)).reshape(8, 2, 2)
            state = np.sort(pairs, axis=2)[..., ::-1].reshape(8, 4)
            states.append(state)
        expected = np.stack(states, axis=1) if sequences else state
        self.assertAllClose(outputs, expected, atol=1e-5)

    @parameterized.product(length=[1, 2, 9], units=[4, 2])
    def test_bounds_grow_with_the_length_as_derived(self, length, units):
        for sequences, expected in (
            (False, math.sqrt(length)),
            (True, all_states(length)),
        ):
            model = self.make(length, units=units, return_sequences=sequences)
            bound = lipschitz_bound(model)
            self.assertAlmostEqual(bound, expected, delta=1e-5 * length)
            # JAX compiles the loop again for every call of the live model.
            self.assertLipschitz(freeze(model).run, (length, 3), bound)
            self.assertEqual(contraction_bound(model), 0.0)

    @parameterized.product(length=[1, 3, 8], sequences=[False, True])
    def test_the_bounds_are_attained(self, length, sequences):
        model = self.make(length, 4, return_sequences=sequences)
        cell = model.layers[-1].cell
        cell.inward.set_weights(
            [
                to_numpy(cell.inward.parametrization.from_matrix(np.eye(4))),
                np.zeros(4),
            ]
        )
        cell.recurrent.set_weights(
            [to_numpy(cell.recurrent.parametrization.from_matrix(np.eye(4)))]
        )
        # Pairs that stay sorted, and differences that add up.
        x = np.tile([9.0, 0.0, 9.0, 0.0], (1, length, 1))
        triangle = np.tril(np.ones((length, length)))
        _, _, vectors = np.linalg.svd(triangle)
        weights = np.abs(vectors[0]) if sequences else np.ones(length)
        step = 0.1 * weights[None, :, None] * np.array([0.6, 0.0, 0.8, 0.0])
        program = freeze(model)
        change = program.run(x + step) - program.run(x)
        stretch = np.linalg.norm(change) / np.linalg.norm(step)
        bound = lipschitz_bound(model)
        self.assertAlmostEqual(stretch, bound, delta=1e-5)
        self.assertLessEqual(stretch, bound + 1e-9)

    @parameterized.parameters((0.5, 2.0), (1.5, 0.5), (0.0, 1.0), (2.0, 3.0))
    def test_norms_other_than_one_count(self, recurrent, inward):
        def make(sequences, length=4):
            return Recurrence(
                Dense(inward * np.eye(2), None),
                Dense(recurrent * np.eye(2), None),
                Elementwise("linear"),
                length,
                sequences,
            )

        # The map is linear, so its matrix has exactly this norm.
        for sequences in (False, True):
            node = make(sequences)
            basis = np.eye(8).reshape(8, 4, 2)
            matrix = node.apply(basis).reshape(8, -1)
            exact = np.linalg.norm(matrix, 2)
            bound = node.constant("l2", (4, 2))
            self.assertGreaterEqual(bound, exact * (1 - 1e-12))
            self.assertAlmostEqual(bound, exact, delta=1e-9)
            # Its gradient is the adjoint.
            upstream = self.rng.normal(size=(1, *node.apply(basis).shape[1:]))
            (pulled,) = node.pull_back(upstream, basis[:1])
            self.assertAllClose(pulled.ravel(), matrix @ upstream.ravel())
        # The sums that replace the norm of a large matrix are no smaller.
        with mock.patch.object(recurrence, "_LONGEST", 3):
            self.assertGreaterEqual(make(True).prove("l2", None), exact)

    def test_an_infinite_kernel_has_no_bound(self):
        model = self.make()
        model.layers[-1].cell.inward.bias.assign(np.full(4, np.nan))
        self.assertEqual(lipschitz_bound(model), np.inf)

    def test_it_trains_and_is_saved(self):
        model = keras.Sequential(
            [
                keras.Input((5, 3)),
                keras.layers.RNN(
                    layers.LipschitzRNNCell(4), return_sequences=True
                ),
                keras.layers.RNN(layers.LipschitzRNNCell(6)),
                layers.UnitNormDense(2),
            ]
        )
        before = [to_numpy(each).copy() for each in model.trainable_weights]
        model.compile(keras.optimizers.SGD(1.0), "mse")
        model.fit(self.normal(16, 5, 3), self.normal(16, 2), verbose=0)
        for old, weight in zip(before, model.trainable_weights, strict=True):
            self.assertGreater(np.abs(to_numpy(weight) - old).max(), 0)
        expected = all_states(5) * math.sqrt(5) * math.sqrt(2)
        bound = lipschitz_bound(model)
        self.assertLessEqual(bound, expected * (1 + 1e-5))
        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        x = self.normal(4, 5, 3)
        self.assertAllClose(loaded(x), model(x))
        self.assertEqual(lipschitz_bound(loaded), bound)
        report = certify(model, x, np.zeros(4))
        self.assertTrue(np.all(report.radius >= 0))
        stock = models.materialize(model)
        self.assertAllClose(stock(x), model(x), atol=1e-5)
        self.assertStock(stock)

    def test_its_config_is_complete(self):
        self.run_serialization_test(
            layers.LipschitzRNNCell(
                4,
                use_bias=False,
                kernel_initializer="glorot_uniform",
                recurrent_initializer="zeros",
                recurrent_regularizer="l2",
                parametrization="exponential",
            )
        )

    @parameterized.named_parameters(
        (
            "other_cell",
            lambda: keras.layers.RNN(keras.layers.SimpleRNNCell(4)),
            (5, 3),
            "its cell is a `SimpleRNNCell`",
        ),
        (
            "stacked",
            lambda: keras.layers.RNN([layers.LipschitzRNNCell(4)] * 1),
            (5, 3),
            "its cell is a `StackedRNNCells`",
        ),
        (
            "length",
            lambda: keras.layers.RNN(layers.LipschitzRNNCell(4)),
            (None, 3),
            "the length of its sequences is not known",
        ),
    )
    def test_other_recurrences_are_refused(self, make, shape, why):
        model = keras.Sequential([keras.Input(shape), make()])
        with self.assertRaisesRegex(ValueError, why):
            lipschitz_bound(model)

    def test_a_stateful_layer_is_refused(self):
        model = keras.Sequential(
            [
                keras.Input(batch_shape=(2, 5, 3)),
                keras.layers.RNN(layers.LipschitzRNNCell(4), stateful=True),
            ]
        )
        with self.assertRaisesRegex(ValueError, "state of another call"):
            lipschitz_bound(model)

    def test_a_replaced_cell_or_kernel_is_refused(self):
        class Other(layers.LipschitzRNNCell):
            def call(self, inputs, states, training=False):
                return super().call(10.0 * inputs, states)

        model = keras.Sequential(
            [keras.Input((5, 3)), keras.layers.RNN(Other(4))]
        )
        with self.assertRaisesRegex(ValueError, "its cell is a `Other`"):
            lipschitz_bound(model)
        for part in (
            lambda cell: cell,
            lambda cell: cell.inward,
            lambda cell: cell.activation,
        ):
            model = self.make()
            found = part(model.layers[-1].cell)
            found.call = lambda *args, **kwargs: None
            with self.assertRaisesRegex(ValueError, "replaced"):
                lipschitz_bound(model)

    def test_masks_and_states_are_refused(self):
        inputs = keras.Input((5, 3))
        masked = keras.layers.Masking()(inputs)
        outputs = keras.layers.RNN(layers.LipschitzRNNCell(4))(masked)
        with self.assertRaisesRegex(ValueError, "mask|not_equal"):
            lipschitz_bound(keras.Model(inputs, outputs))
        rnn = keras.layers.RNN(layers.LipschitzRNNCell(4))
        state = keras.layers.Dense(4)(keras.layers.Flatten()(inputs))
        outputs = rnn(inputs, initial_state=[state])
        with self.assertRaisesRegex(ValueError, "initial_state|other values"):
            lipschitz_bound(keras.Model(inputs, outputs))

    def test_invalid_arguments_are_refused(self):
        for units in (3, 0, -2):
            with self.assertRaisesRegex(ValueError, "`units` must be"):
                layers.LipschitzRNNCell(units)
        with self.assertRaisesRegex(ValueError, "orthogonal"):
            layers.LipschitzRNNCell(4, parametrization="aol")
