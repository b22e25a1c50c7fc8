import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

import keras_lip
from keras_lip.bounds import lipschitz_bound
from keras_lip.program import freeze
from tests.bounds.model_bound_test_case import ModelBoundTestCase
from tests.bounds.model_bound_test_case import scale
from tests.lipschitz_test_case import to_numpy


class LipschitzBoundTest(ModelBoundTestCase):
    def test_stack_is_bounded_by_the_product(self):
        model = keras.Sequential(
            [keras.Input((3,)), scale(2.0), layers.ReLU(), scale(-3.0)]
        )
        self.assertBound(model, 6.0)

    def test_bound_is_no_less_than_the_norm_of_a_linear_net(self):
        model = keras.Sequential(
            [keras.Input((5,)), layers.Dense(7), layers.Dense(4)]
        )
        kernels = [to_numpy(layer.kernel) for layer in model.layers]
        norms = [self.singular_values(kernel).max() for kernel in kernels]
        exact = self.singular_values(kernels[0] @ kernels[1]).max()
        bound = lipschitz_bound(model)
        self.assertGreaterEqual(bound, exact)
        self.assertAlmostEqual(bound, norms[0] * norms[1], delta=1e-5)

    @parameterized.named_parameters(
        ("add_layer", lambda x, g: layers.Add()([x, g]), 4.0),
        ("plus", lambda x, g: x + g, 4.0),
        ("minus", lambda x, g: x - g, 4.0),
        ("convex", lambda x, g: 0.5 * x + 0.5 * g, 2.0),
        ("average", lambda x, g: layers.Average()([x, g]), 2.0),
        ("concatenate", lambda x, g: layers.Concatenate()([x, g]), 10**0.5),
        ("maximum", lambda x, g: layers.Maximum()([x, g]), 10**0.5),
    )
    def test_branches_are_joined_as_the_graph_joins_them(self, join, expected):
        model = self.model(lambda x: join(x, layers.ReLU()(scale(3.0)(x))))
        self.assertBound(model, expected)

    def test_diamonds_are_walked_once_for_each_path(self):
        def function(x):
            # Multiples would be summed up to one: these are not linear.
            left, right = layers.LeakyReLU(2.0)(x), layers.LeakyReLU(3.0)(x)
            middle = layers.Subtract()([left, right])
            return layers.Concatenate()(
                [
                    layers.Add()([left, middle]),
                    layers.Average()([right, middle]),
                ]
            )

        # 2 + (2 + 3) = 7 and (3 + (2 + 3)) / 2 = 4.
        self.assertBound(self.model(function), (7**2 + 4**2) ** 0.5)

    def test_layer_used_twice_counts_twice(self):
        shared = scale(3.0)
        self.assertBound(self.model(lambda x: shared(shared(x))), 9.0)
        self.assertBound(self.model(lambda x: shared(x) + shared(x)), 6.0)

    def test_model_that_is_the_identity(self):
        with self.needs_newer_keras():
            model = self.model(lambda x: x)
        self.assertBound(model, 1.0)

    def test_models_nest(self):
        inner = keras.Sequential([keras.Input((3,)), scale(2.0)])
        middle = self.model(lambda x: scale(3.0)(inner(x)))
        self.assertBound(self.model(lambda x: middle(inner(x))), 12.0)
        # A stack that was built by its first use.
        late = keras.Sequential([scale(5.0)])
        self.assertBound(self.model(lambda x: late(x)), 5.0)

    def test_nested_model_of_several_inputs(self):
        first, second = keras.Input((3,)), keras.Input((3,))
        inner = keras.Model([first, second], scale(10.0)(first) + second)
        self.assertBound(self.model(lambda x: inner([x, scale(3.0)(x)])), 13.0)
        self.assertBound(self.model(lambda x: inner((scale(3.0)(x), x))), 31.0)

    def test_nested_model_called_on_a_dictionary(self):
        # Keras goes by names where the model takes a list, and by the order of
        # keys where it takes a dictionary.
        first, second = keras.Input((3,), name="b"), keras.Input((3,), name="a")
        outputs = scale(10.0)(first) + second
        of_list = keras.Model([first, second], outputs)
        of_dict = keras.Model({"b": first, "a": second}, outputs)
        for inner in of_list, of_dict:
            model = self.model(
                lambda x, inner=inner: inner({"a": scale(0.01)(x), "b": x})
            )
            self.assertBound(model, 10.01)

    def test_nested_model_of_several_outputs(self):
        inputs = keras.Input((3,))
        inner = keras.Model(inputs, [scale(2.0)(inputs), scale(3.0)(inputs)])

        def function(x):
            double, triple = inner(x)
            return 10 * double + triple

        self.assertBound(self.model(function), 23.0)

    def test_models_nested_in_a_sequence_and_in_lipschitz_models(self):
        inner = keras_lip.models.LipschitzSequential(
            [keras.Input((4,)), keras_lip.layers.MaxMin(), scale(2.0)]
        )
        model = keras.Sequential([keras.Input((4,)), inner, inner])
        self.assertBound(model, 4.0, shape=(4,))

    def test_images_go_through_all_kinds_of_layers(self):
        model = keras.Sequential(
            [
                keras.Input((6, 6, 2)),
                layers.Rescaling(1 / 255),
                layers.Normalization(mean=[0.5, 0.5], variance=[0.25, 0.04]),
                layers.ZeroPadding2D(),
                layers.Conv2D(4, 3, strides=2, activation="gelu"),
                layers.BatchNormalization(),
                keras_lip.layers.MaxMin(),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dropout(0.5),
                layers.Dense(3),
            ]
        )
        bound = lipschitz_bound(model)
        self.assertLipschitz(model, (6, 6, 2), bound)
        self.assertGreater(bound, 0)

    def test_preprocessing_counts(self):
        trunk = layers.Dense(2, kernel_initializer="ones", use_bias=False)
        model = keras.Sequential([keras.Input((2,)), trunk])
        self.assertAlmostEqual(lipschitz_bound(model), 2.0, delta=1e-6)
        model = keras.Sequential(
            [
                keras.Input((2,)),
                layers.Rescaling(1 / 255),
                layers.Normalization(mean=[0.5, 0.4], variance=[0.04, 0.01]),
                trunk,
            ]
        )
        # The smallest deviation is 0.1.
        self.assertAlmostEqual(lipschitz_bound(model), 20 / 255, delta=1e-6)

    def test_bound_is_infinite_if_a_weight_is_no_number(self):
        model = keras.Sequential(
            [keras.Input((2,)), layers.Dense(2), scale(0.0)]
        )
        self.assertEqual(lipschitz_bound(model), 0.0)
        for wrong in np.nan, np.inf:
            weights = [np.eye(2), np.array([0.0, wrong])]
            model.set_weights(weights)
            self.assertEqual(lipschitz_bound(model), np.inf)

    def test_bound_is_of_the_weights_that_now_run(self):
        model = keras.Sequential([keras.Input((2,)), layers.Dense(2)])
        for factor in 2.0, 5.0:
            model.set_weights([factor * np.eye(2), np.zeros(2)])
            self.assertAlmostEqual(lipschitz_bound(model), factor, delta=1e-9)

    def test_saved_model_has_the_same_bound(self):
        model = keras.Sequential(
            [keras.Input((3,)), layers.Dense(4, "gelu"), layers.Dense(2)]
        )
        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertEqual(lipschitz_bound(loaded), lipschitz_bound(model))

    def test_bounds_are_known_of_each_tensor_up_to_the_last_layer(self):
        head = layers.Dense(2, name="head")
        model = self.model(lambda x: head(scale(3.0)(x)))
        program = freeze(model)
        bounds = program.bounds("l2")
        last = program.step_of(program.output)
        self.assertEqual(program.origins[last.origin].name, "head")
        self.assertEqual(program.output_shape, (2,))
        self.assertEqual(bounds.output, bounds.values[program.output])
        (before,) = last.inputs
        self.assertAlmostEqual(bounds.values[before], 3.0, delta=1e-9)
        self.assertEqual(program.step_of(before).inputs, (0,))
        self.assertEqual(bounds.values[0], 1.0)

    def test_nested_model_must_be_called_on_the_size_that_it_is_of(self):
        pool = [layers.ReLU(), layers.GlobalAveragePooling2D()]
        inner = keras.Sequential([keras.Input((8, 8, 1)), *pool])
        model = self.model(lambda x: inner(x), (8, 8, 1))
        self.assertBound(model, 1 / 8, (8, 8, 1))
        model = self.model(lambda x: inner(x), (None, None, 1))
        with self.assertRaisesRegex(
            ValueError, r"is built for inputs of shape \(None, 8, 8, 1\)"
        ):
            lipschitz_bound(model)

    def test_nested_model_of_any_size_is_bounded_at_the_one_it_is_called_on(
        self,
    ):
        pool = [layers.ReLU(), layers.GlobalAveragePooling2D()]
        inner = keras.Sequential([keras.Input((None, None, 1)), *pool])
        model = self.model(lambda x: inner(x), (2, 2, 1))
        self.assertBound(model, 1 / 2, (2, 2, 1))
        # Where that is of any size as well, an image may be of one pixel.
        model = self.model(lambda x: inner(x), (None, None, 1))
        self.assertAlmostEqual(lipschitz_bound(model), 1.0, delta=1e-9)
