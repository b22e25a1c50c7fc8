import keras
import numpy as np
from absl.testing import parameterized
from keras import layers
from keras import ops

import keras_lip
from keras_lip.bounds import lipschitz_bound
from keras_lip.bounds.lipschitz_bound import output_bound
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def scale(factor, **kwargs):
    return layers.Rescaling(factor, **kwargs)


class Block(keras.Model):
    """A subclassed model, whose `call` is traced."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale(3.0)
        self.dropout = layers.Dropout(0.5)

    def call(self, inputs, training=None):
        return inputs + self.dropout(self.scale(inputs), training=training)


class LoudSequential(keras.Sequential):
    def call(self, inputs, training=None, mask=None):
        return 10.0 * super().call(inputs, training=training, mask=mask)


class LoudFunctional(keras.Model):
    def __init__(self):
        inputs = keras.Input((3,))
        super().__init__(inputs, scale(2.0)(inputs))

    def call(self, inputs, training=None, mask=None):
        return 10.0 * super().call(inputs, training=training, mask=mask)


class LipschitzBoundTest(LipschitzTestCase):
    def model(self, function, shape=(3,), **kwargs):
        inputs = keras.Input(shape, **kwargs)
        return keras.Model(inputs, function(inputs))

    def assertBound(self, model, expected, shape=(3,)):
        bound = lipschitz_bound(model)
        self.assertIs(type(bound), float)
        self.assertAlmostEqual(bound, expected, delta=1e-9 * expected)
        self.assertLipschitz(model, shape, bound)

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
            left, right = scale(2.0)(x), scale(3.0)(x)
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
        self.assertBound(self.model(lambda x: x), 1.0)

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

    def test_output_bound_remembers_the_last_layer(self):
        head = layers.Dense(2, name="head")
        model = self.model(lambda x: head(scale(3.0)(x)))
        bound = output_bound(model)
        self.assertIs(bound.layer, head)
        self.assertEqual(bound.shape, (None, 2))
        self.assertAlmostEqual(bound.inputs[0], 3.0, delta=1e-9)
        self.assertEqual(bound.inputs[0].inputs[0], 1.0)

    # Subclassed models.

    def test_subclassed_model_is_traced_at_inference(self):
        model = Block()
        model(np.zeros((1, 3)))
        self.assertBound(model, 4.0)
        self.assertBound(self.model(lambda x: scale(2.0)(model(x))), 8.0)

    def test_trace_leaves_the_layers_as_it_found_them(self):
        model = Block()
        model(np.zeros((1, 3)))
        outer = self.model(model)
        nodes = [
            (layer._inbound_nodes[:], layer._outbound_nodes[:])
            for layer in model.layers
        ]
        for _ in range(2):
            lipschitz_bound(model)
            lipschitz_bound(outer)
        self.assertEqual(
            nodes,
            [(x._inbound_nodes, x._outbound_nodes) for x in model.layers],
        )

    def test_subclassed_model_that_cannot_be_traced_is_refused(self):
        class Untraceable(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = layers.Dense(2)

            def call(self, inputs):
                return self.dense(inputs) * float(ops.max(inputs))

        model = Untraceable()
        model(np.zeros((1, 3)))
        nodes = len(model.dense._inbound_nodes)
        with self.assertRaisesRegex(
            ValueError, "of type `Untraceable` cannot be traced.*Use only"
        ):
            lipschitz_bound(model)
        self.assertLen(model.dense._inbound_nodes, nodes)

    def test_overridden_call_of_a_sequential_model_is_traced(self):
        model = LoudSequential([keras.Input((3,)), scale(2.0)])
        self.assertBound(model, 20.0)
        late = LoudSequential([scale(2.0)])
        late(np.zeros((1, 3)))
        self.assertBound(late, 20.0)
        self.assertBound(self.model(lambda x: model(late(x))), 400.0)

    def test_overridden_call_of_a_functional_model_is_traced(self):
        model = LoudFunctional()
        self.assertBound(model, 20.0)
        self.assertBound(self.model(lambda x: model(x)), 20.0)

    def test_replaced_call_of_a_model_is_traced(self):
        for model in (
            keras.Sequential([keras.Input((3,)), scale(2.0)]),
            self.model(scale(2.0)),
        ):
            self.assertBound(model, 2.0)
            model.call = lambda inputs, training=None, mask=None: 10.0 * inputs
            self.assertBound(model, 10.0)

    def test_model_that_overrides_dunder_call_is_refused(self):
        class Loud(keras.Sequential):
            def __call__(self, *args, **kwargs):
                return 10.0 * super().__call__(*args, **kwargs)

        model = Loud([keras.Input((3,)), scale(2.0)])
        with self.assertRaisesRegex(ValueError, "`Loud` cannot be traced on"):
            lipschitz_bound(model)

    def test_hooks_of_torch_are_refused(self):
        if keras.backend.backend() != "torch":
            self.skipTest("Only torch has hooks.")
        layer = layers.ReLU()
        model = self.model(layer)
        hook = layer.register_forward_hook(lambda m, args, out: 10 * out)
        with self.assertRaisesRegex(ValueError, "`ReLU`, which has hooks"):
            lipschitz_bound(model)
        hook.remove()
        self.assertBound(model, 1.0)
        for register in (
            model.register_forward_hook,
            model.register_forward_pre_hook,
        ):
            hook = register(lambda *args: None)
            for hooked in model, self.model(lambda x: model(x)):
                with self.assertRaisesRegex(ValueError, "it has hooks"):
                    lipschitz_bound(hooked)
            hook.remove()

    def test_forward_of_torch_is_refused(self):
        if keras.backend.backend() != "torch":
            self.skipTest("Only on torch does Keras have a `forward`.")

        class Loud(keras.Sequential):
            def forward(self, inputs, **kwargs):
                return 10.0 * super().forward(inputs, **kwargs)

        stack = [keras.Input((3,)), scale(2.0)]
        replaced = keras.Sequential(stack)
        replaced.forward = lambda inputs, **kwargs: 10.0 * inputs
        for model in Loud(stack), replaced:
            with self.assertRaisesRegex(ValueError, "or overrides `__call__`"):
                lipschitz_bound(model)

        class LoudMaxMin(keras_lip.layers.MaxMin):
            def forward(self, inputs):
                return 10.0 * super().forward(inputs)

        model = self.model(LoudMaxMin(), (4,))
        with self.assertRaisesRegex(ValueError, "overrides `forward` but not"):
            lipschitz_bound(model)

    # What a bound is not known of.

    def test_layer_called_in_training_is_refused(self):
        for layer in layers.Dropout(0.5), layers.BatchNormalization():
            model = self.model(lambda x, f=layer: f(x, training=True))
            with self.assertRaisesRegex(
                ValueError, "is called with `training=True`.* at inference"
            ):
                lipschitz_bound(model)
            model = self.model(lambda x, f=layer: f(x, training=False))
            self.assertLess(lipschitz_bound(model), 1.0 + 1e-9)

    def test_model_called_in_training_is_refused(self):
        inner = keras.Sequential([layers.BatchNormalization()])
        model = self.model(lambda x: inner(x, training=True))
        with self.assertRaisesRegex(ValueError, "`training=True`"):
            lipschitz_bound(model)

        class Frozen(keras.Model):
            def call(self, inputs):
                return inner(inputs, training=True)

        model = Frozen()
        model.build((None, 3))
        with self.assertRaisesRegex(ValueError, "`training=True`"):
            lipschitz_bound(model)

    def test_layer_called_with_a_mask_is_refused(self):
        mask = np.array([[True, True, False]])
        pooling = layers.GlobalAveragePooling1D()
        model = self.model(lambda x: pooling(x, mask=mask), shape=(3, 2))
        with self.assertRaisesRegex(ValueError, "without masks"):
            lipschitz_bound(model)

    def test_layer_called_on_more_than_its_input_is_refused(self):
        class Pair(layers.Layer):
            def call(self, first, second):
                return first + second

            def lipschitz_bound(self):
                return 1.0

        pair = Pair()
        for function in (
            lambda x: pair(x, x),
            lambda x: pair(x, second=x),
        ):
            with self.assertRaisesRegex(ValueError, "is called (on|with)"):
                lipschitz_bound(self.model(function))

    def test_layer_of_several_outputs_is_refused(self):
        class Split(layers.Layer):
            def call(self, inputs):
                return inputs, inputs

            def lipschitz_bound(self):
                return 1.0

        with self.assertRaisesRegex(ValueError, "must have one output"):
            lipschitz_bound(self.model(lambda x: Split()(x)[0]))

    @parameterized.named_parameters(
        ("layer_normalization", layers.LayerNormalization),
        ("attention", lambda: layers.MultiHeadAttention(1, 2)),
        ("softmax", layers.Softmax),
        ("lambda", lambda: layers.Lambda(lambda x: 2 * x)),
        ("gaussian_noise", lambda: layers.GaussianNoise(0.1)),
    )
    def test_layer_without_a_bound_is_refused_by_name(self, make):
        layer = make()
        shape = (4, 3)
        self_attention = isinstance(layer, layers.MultiHeadAttention)
        model = self.model(
            lambda x: layer(x, x) if self_attention else layer(x), shape
        )
        named = f"layer '{layer.name}' of type `{type(layer).__name__}`"
        if self_attention:
            named = f"Layer '{layer.name}' is called on something else"
        with self.assertRaisesRegex(ValueError, named):
            lipschitz_bound(model)

    def test_unbuilt_model_is_refused(self):
        for model in keras.Sequential([layers.Dense(2)]), Block():
            with self.assertRaisesRegex(ValueError, "is not built. Start it"):
                lipschitz_bound(model)

    def test_several_inputs_are_refused(self):
        first, second = keras.Input((3,)), keras.Input((3,))
        model = keras.Model([first, second], first + second)
        with self.assertRaisesRegex(ValueError, "one input .* 2 inputs"):
            lipschitz_bound(model)

        class Sum(keras.Model):
            def call(self, inputs):
                return inputs[0] + inputs[1]

        model = Sum()
        model([np.zeros((1, 3)), np.zeros((1, 3))])
        with self.assertRaisesRegex(ValueError, "`Sum` .* of several shapes"):
            lipschitz_bound(model)
        with self.assertRaisesRegex(ValueError, "`Sum` .* of several shapes"):
            lipschitz_bound(self.model(lambda x: model([x, x])))

    def test_several_outputs_are_refused(self):
        model = self.model(lambda x: [x, scale(2.0)(x)])
        with self.assertRaisesRegex(ValueError, "one output .* 2 outputs"):
            lipschitz_bound(model)

    @parameterized.parameters("int32", "uint8", "bool")
    def test_model_of_integers_is_refused(self, dtype):
        # Keras rounds 0.9 to 0, a tenth away from 1.
        inner = self.model(layers.Identity(), dtype=dtype)
        for model in inner, self.model(lambda x: inner(x)):
            with self.assertRaisesRegex(ValueError, "rounds its inputs to int"):
                lipschitz_bound(model)

    def test_what_is_no_model_is_refused(self):
        for wrong in layers.Dense(2), None, lambda x: x:
            with self.assertRaisesRegex(TypeError, "A `keras.Model` is expec"):
                lipschitz_bound(wrong)

    # Sizes: the bound of a global average is one over the root of its pixels.

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

    def test_nested_model_of_any_size_is_bounded_at_any(self):
        pool = [layers.ReLU(), layers.GlobalAveragePooling2D()]
        inner = keras.Sequential([keras.Input((None, None, 1)), *pool])
        model = self.model(lambda x: inner(x), (2, 2, 1))
        bound = lipschitz_bound(model)
        self.assertLipschitz(model, (2, 2, 1), bound)
        self.assertAlmostEqual(bound, 1.0, delta=1e-9)

    def test_subclassed_model_is_traced_on_the_size_that_it_is_called_on(self):
        class Pool(keras.Model):
            def __init__(self):
                super().__init__()
                self.relu = layers.ReLU()
                self.pool = layers.GlobalAveragePooling2D()

            def call(self, inputs):
                return self.pool(self.relu(inputs))

        inner = Pool()
        inner(np.zeros((1, 8, 8, 1)))
        self.assertBound(inner, 1 / 8, (8, 8, 1))
        model = self.model(lambda x: inner(x), (2, 2, 1))
        self.assertBound(model, 1 / 2, (2, 2, 1))
