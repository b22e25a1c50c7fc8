from fractions import Fraction

import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.bounds import lipschitz_bound
from keras_lip.bounds import propagate_bound
from keras_lip.program import freeze
from tests.lipschitz_test_case import to_numpy
from tests.program.stock.rule_test_case import RuleTestCase


class MergingTest(RuleTestCase):
    def merge(self, layer, *scales, shape=(3,)):
        """Returns a model that merges multiples of its input."""
        inputs = keras.Input(shape)
        branches = [layers.Rescaling(scale)(inputs) for scale in scales]
        return keras.Model(inputs, layer(branches))

    @parameterized.named_parameters(
        ("add", layers.Add, (2.0, 3.0), 5.0),
        ("add_three", layers.Add, (2.0, 3.0, 4.0), 9.0),
        ("subtract", layers.Subtract, (2.0, -3.0), 5.0),
        ("average", layers.Average, (2.0, 4.0), 3.0),
        ("average_three", layers.Average, (1.0, 4.0, 4.0), 3.0),
        ("concatenate", layers.Concatenate, (3.0, 4.0), 5.0),
        ("concatenate_three", layers.Concatenate, (2.0, 3.0, 6.0), 7.0),
    )
    def test_bound_is_the_norm_of_the_matrix(self, layer_cls, scales, expected):
        model = self.merge(layer_cls(), *scales)
        self.assertAlmostEqual(lipschitz_bound(model), expected, delta=1e-9)
        self.assertBounded(model, slack=1e-5)

    @parameterized.parameters(1, 2, -1, -2)
    def test_concatenation_on_any_axis_but_that_of_samples(self, axis):
        model = self.merge(layers.Concatenate(axis), 3.0, 4.0, shape=(2, 3))
        self.assertBounded(model, slack=1e-5)

    @parameterized.parameters(layers.Maximum, layers.Minimum)
    def test_extremum_is_bounded(self, layer_cls):
        model = self.merge(layer_cls(), 2.0, -3.0)
        self.assertAlmostEqual(lipschitz_bound(model), 13**0.5, delta=1e-9)
        self.assertLipschitz(model, (3,), 3.0)
        # Of separate inputs, one for each half, it is all of the root.
        inputs = keras.Input((2,))
        left = layers.Dense(2, use_bias=False)
        right = layers.Dense(2, use_bias=False)
        outputs = layer_cls()([left(inputs), right(inputs)])
        model = keras.Model(inputs, outputs)
        left.set_weights([np.array([[3.0, 0.0], [0.0, 0.0]])])
        right.set_weights([np.array([[0.0, 4.0], [0.0, 0.0]])])
        self.assertAlmostEqual(lipschitz_bound(model), 5.0, delta=1e-9)

    @parameterized.named_parameters(
        ("first", 0, (3,)),
        ("counted_from_the_end", -2, (3,)),
        ("the_only_one", -1, ()),
    )
    def test_concatenation_of_samples_is_refused(self, axis, shape):
        inputs = keras.Input(shape)
        merged = layers.Concatenate(axis)([inputs, layers.ReLU()(inputs)])
        model = keras.Model(inputs, merged)
        with self.assertRaisesRegex(ValueError, "concatenates samples"):
            lipschitz_bound(model)

    def test_concatenation_of_samples_is_refused_without_shapes(self):
        with self.assertRaisesRegex(ValueError, "concatenates samples"):
            propagate_bound(layers.Concatenate(0), [1.0, 1.0])
        bound = propagate_bound(layers.Concatenate(), [3.0, 4.0])
        self.assertEqual(bound, 5.0)

    @parameterized.parameters(
        layers.Add,
        layers.Subtract,
        layers.Average,
        layers.Maximum,
        layers.Minimum,
    )
    def test_branches_that_would_broadcast_are_refused(self, layer_cls):
        # Added to each of nine channels, one has three times its norm.
        inputs = keras.Input((9,))
        narrow = layers.Dense(1)(inputs)
        model = keras.Model(inputs, layer_cls()([inputs, narrow]))
        with self.assertRaisesRegex(
            ValueError, r"must not broadcast .*\(None, 1\), \(None, 9\)"
        ):
            lipschitz_bound(model)

    def test_branches_of_unknown_size_might_broadcast(self):
        # On two steps the second branch has one, which is added to both.
        inputs = keras.Input((None, 1))
        branch = layers.Conv1D(1, 1, strides=2, kernel_initializer="ones")
        model = keras.Model(inputs, layers.Add()([inputs, branch(inputs)]))
        x, y = np.array([[[0.0], [0.0]]]), np.array([[[1.0], [0.4]]])
        change = to_numpy(model(y)) - to_numpy(model(x))
        stretch = np.linalg.norm(change) / np.linalg.norm(y - x)
        self.assertGreater(stretch, 2.2)
        with self.assertRaisesRegex(ValueError, "must be known and the same"):
            lipschitz_bound(model)

    @parameterized.parameters(layers.Maximum, layers.Minimum)
    def test_extremum_of_a_tensor_and_itself_is_the_tensor(self, layer_cls):
        inputs = keras.Input((3,))
        model = keras.Model(inputs, layer_cls()([inputs, inputs]))
        self.assertEqual(lipschitz_bound(model), 1.0)

    def test_multiples_of_one_tensor_are_summed_up(self):
        model = self.merge(layers.Add(), 2.0, -3.0, 1.5)
        bound = lipschitz_bound(model)
        self.assertBounded(model)
        self.assertAlmostEqual(bound, 0.5, delta=1e-9)

    def test_sum_of_multiples_is_not_less_for_what_it_rounds(self):
        # In float64 the middle one is lost, and nothing is left.
        model = self.merge(layers.Add(), 2.0**70, 1.0, -(2.0**70))
        self.assertGreaterEqual(lipschitz_bound(model), 1.0)
        numbers = [float(np.float32(0.1)) * 3.0**n for n in range(9)]
        model = self.merge(layers.Add(), *numbers)
        exact = sum(map(Fraction, numbers))
        self.assertGreaterEqual(Fraction(lipschitz_bound(model)), exact)

    def test_extrema_of_more_than_a_pair_are_bounded(self):
        inputs = keras.Input((3,))
        first, second = layers.ReLU()(inputs), layers.LeakyReLU(0.5)(inputs)
        large = layers.Maximum()([first, second, first])
        small = layers.Minimum()([first, second])
        merged = layers.Concatenate()([large, small])
        model = keras.Model(inputs, merged)
        x = self.normal(4, 3)
        self.assertAllClose(freeze(model).run(x), model(x))
        self.assertLipschitz(model, (3,), lipschitz_bound(model))

    def test_copies_of_one_tensor_count_as_their_root(self):
        inputs = keras.Input((3,))
        for copies in 2, 3:
            merged = layers.Concatenate()([inputs] * copies)
            model = keras.Model(inputs, merged)
            self.assertBounded(model, slack=1e-5)

    def test_parts_of_one_tensor_count_as_often_as_they_occur(self):
        inputs = keras.Input((4,))
        halves = [layers.Reshape((2, 2))(inputs)] * 2
        halves = [layers.Cropping1D((i, 1 - i))(halves[i]) for i in (0, 1)]
        for parts, expected in (
            (halves, 1.0),
            ([*halves, inputs], 2**0.5),
            ([inputs, inputs, halves[0]], 3**0.5),
        ):
            flat = [layers.Flatten()(part) for part in parts]
            model = keras.Model(inputs, layers.Concatenate()(flat))
            self.assertAlmostEqual(lipschitz_bound(model), expected, delta=1e-9)
            self.assertBounded(model, slack=1e-5)

    def test_one_tensor_of_unknown_size_may_be_added_to_itself(self):
        inputs = keras.Input((None, 1))
        model = keras.Model(inputs, layers.Add()([inputs, inputs]))
        self.assertEqual(lipschitz_bound(model), 2.0)

    def test_branches_of_unknown_size_may_be_concatenated(self):
        inputs = keras.Input((None, 1))
        merged = layers.Concatenate()([inputs, layers.ReLU()(inputs)])
        model = keras.Model(inputs, merged)
        self.assertAlmostEqual(lipschitz_bound(model), 2**0.5, delta=1e-9)
