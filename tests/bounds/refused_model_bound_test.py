import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.bounds import lipschitz_bound
from tests.bounds.model_bound_test_case import Block
from tests.bounds.model_bound_test_case import ModelBoundTestCase
from tests.bounds.model_bound_test_case import scale


class RefusedModelBoundTest(ModelBoundTestCase):
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
        ("lambda", lambda: layers.Lambda(lambda x: 2 * x)),
    )
    def test_layer_without_a_bound_is_refused_by_name(self, make):
        layer = make()
        shape = (4, 3)
        self_attention = isinstance(layer, layers.MultiHeadAttention)
        model = self.model(
            lambda x: layer(x, x) if self_attention else layer(x), shape
        )
        named = f"layer '{layer.name}' of type `{type(layer).__name__}`"
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
