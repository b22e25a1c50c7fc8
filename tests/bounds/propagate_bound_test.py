import types
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

import keras_lip
from keras_lip.bounds import lipschitz_bound
from keras_lip.bounds import propagate_bound
from keras_lip.program.freezing.reasons import REASONS
from keras_lip.program.freezing.registry import RULES
from keras_lip.program.freezing.registry import find_norms
from tests.lipschitz_test_case import LipschitzTestCase
from tests.marks import on_pytorch_alone


class Doubled(keras.layers.Layer):
    """A layer of a user, who knows its bound."""

    def call(self, inputs):
        return 2 * inputs

    def lipschitz_bound(self):
        return 2.0


class LoudMaxMin(keras_lip.layers.MaxMin):
    def call(self, inputs):
        return 5 * super().call(inputs)


class BoundedLoudMaxMin(LoudMaxMin):
    def lipschitz_bound(self):
        return 5.0


class LoudlyCalledMaxMin(keras_lip.layers.MaxMin):
    def __call__(self, inputs):
        return 5 * super().__call__(inputs)


class RenamedMaxMin(keras_lip.layers.MaxMin):
    """Overrides nothing that a bound depends on."""

    def get_config(self):
        return super().get_config()


class PropagateBoundTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        # What a test registers is for that test alone.
        self.enterContext(mock.patch.dict(RULES.rules))

    @parameterized.parameters(layers.ReLU, layers.Identity, layers.Flatten)
    def test_subclass_of_a_stock_layer_is_refused(self, layer_cls):
        class Subclass(layer_cls):
            pass

        self.assertEqual(propagate_bound(layer_cls(), 1.0), 1.0)
        with self.assertRaisesRegex(
            ValueError, "of type `Subclass`: a rule covers one exact class"
        ):
            propagate_bound(Subclass(), 1.0)

    def test_reasons_are_of_layers_of_keras(self):
        for name in REASONS:
            self.assertTrue(hasattr(layers, name), name)

    @parameterized.parameters(
        (layers.LayerNormalization(), "deviation.*use `keras_lip.layers.Layer"),
        (layers.Lambda(lambda x: x), "may compute anything; write a layer"),
        (layers.LSTM(2), "its gates multiply"),
    )
    def test_reasons_are_given(self, layer, reason):
        with self.assertRaisesRegex(ValueError, f"of type.*: .*{reason}"):
            find_norms(layer)

    def test_unknown_layer_is_named_with_its_type(self):
        with self.assertRaisesRegex(
            ValueError,
            "layer 'attention' of type `MultiHeadAttention`.* Use a layer of "
            "`keras_lip.layers` instead, or register",
        ):
            propagate_bound(
                layers.MultiHeadAttention(1, 2, name="attention"), 1.0
            )

    @parameterized.named_parameters(
        ("layer_normalization", layers.LayerNormalization, ()),
        ("rms_normalization", layers.RMSNormalization, ()),
        ("group_normalization", layers.GroupNormalization, (1,)),
        ("unit_normalization", layers.UnitNormalization, ()),
        ("spectral_normalization", layers.SpectralNormalization, ()),
        ("lambda", layers.Lambda, (lambda x: x,)),
        ("multiply", layers.Multiply, ()),
        ("dot", layers.Dot, (1,)),
        ("embedding", layers.Embedding, (3, 2)),
        ("lstm", layers.LSTM, (2,)),
        ("resizing", layers.Resizing, (2, 2)),
    )
    def test_layer_without_a_bound_is_refused(self, layer_cls, args):
        if layer_cls is layers.SpectralNormalization:
            args = (layers.Dense(2),)
        with self.assertRaisesRegex(
            ValueError, f"No Lipschitz bound .*`{layer_cls.__name__}`"
        ):
            propagate_bound(layer_cls(*args), 1.0)

    def test_call_replaced_on_the_instance_is_refused(self):
        for layer in layers.ReLU(), Doubled(), keras_lip.layers.MaxMin():
            find_norms(layer)
            layer.call = types.MethodType(lambda self, x: 10 * x, layer)
            with self.assertRaisesRegex(
                ValueError, "whose `call` was replaced on the instance"
            ):
                propagate_bound(layer, 1.0)

    def test_what_call_calls_replaced_on_the_instance_is_refused(self):
        layer = layers.Conv2D(1, 1)
        model = keras.Sequential([keras.Input((2, 2, 1)), layer])
        original = layer.convolution_op
        layer.convolution_op = lambda x, kernel: 10 * original(x, kernel)
        with self.assertRaisesRegex(
            ValueError, "whose `convolution_op` was replaced on the instance"
        ):
            lipschitz_bound(model)

    def test_quantized_layer_is_refused(self):
        layer = layers.Dense(4)
        model = keras.Sequential([keras.Input((4,)), layer])
        lipschitz_bound(model)
        layer.quantize("int8")
        with self.assertRaisesRegex(ValueError, "`Dense`, which is quantized"):
            lipschitz_bound(model)

    @parameterized.parameters("int32", "uint8")
    def test_layer_that_rounds_to_integers_is_refused(self, dtype):
        # A step from 0.9 to 1 goes from 0 to 1: ten times as far.
        for layer in layers.ReLU(dtype=dtype), Doubled(dtype=dtype):
            with self.assertRaisesRegex(
                ValueError, f"which rounds its inputs to {dtype}"
            ):
                propagate_bound(layer, 1.0)

    @parameterized.parameters("mixed_bfloat16", "mixed_float16")
    def test_lora_in_16_bits_is_refused(self, dtype):
        # Its roundings are not those of the kernel that the layer shows.
        layer = layers.Dense(2, dtype=dtype)
        model = keras.Sequential([keras.Input((2,)), layer])
        lipschitz_bound(model)
        layer.enable_lora(1)
        with self.assertRaisesRegex(ValueError, "which adds LoRA weights in"):
            lipschitz_bound(model)

    def test_layer_that_knows_its_bound_is_asked(self):
        self.assertEqual(propagate_bound(Doubled(), 3.0), 6.0)
        self.assertEqual(propagate_bound(keras_lip.layers.MaxMin(), 3.0), 3.0)

    def test_bound_set_on_the_instance_is_not_asked(self):
        layer = layers.LayerNormalization()
        layer.lipschitz_bound = lambda: 1.0
        with self.assertRaisesRegex(
            ValueError, "divides by the standard deviation"
        ):
            propagate_bound(layer, 1.0)
        layer = layers.LeakyReLU(3.0)
        layer.lipschitz_bound = lambda: 1.0
        self.assertEqual(propagate_bound(layer, 1.0), 3.0)
        layer = Doubled()
        layer.lipschitz_bound = lambda: 1.0
        with self.assertRaisesRegex(ValueError, "`lipschitz_bound` was replac"):
            propagate_bound(layer, 1.0)

    def test_subclass_that_overrides_call_alone_is_refused(self):
        with self.assertRaisesRegex(
            ValueError, "`LoudMaxMin`, which overrides `call` but not"
        ):
            propagate_bound(LoudMaxMin(), 1.0)
        with self.assertRaisesRegex(
            ValueError, "`LoudlyCalledMaxMin`, which overrides `__call__` but"
        ):
            propagate_bound(LoudlyCalledMaxMin(), 1.0)

    def test_subclass_that_overrides_call_and_bound_is_accepted(self):
        self.assertEqual(propagate_bound(BoundedLoudMaxMin(), 1.0), 5.0)
        self.assertEqual(propagate_bound(RenamedMaxMin(), 1.0), 1.0)

    def test_mixin_that_overrides_call_is_refused(self):
        class Loud:
            def call(self, inputs):
                return 5 * inputs

        class Mixed(Loud, keras_lip.layers.MaxMin):
            pass

        with self.assertRaisesRegex(ValueError, "overrides `call` but not"):
            propagate_bound(Mixed(), 1.0)

    def test_mixin_behind_a_layer_is_refused_if_it_overrides(self):
        class Loud(keras.layers.Layer):
            def __call__(self, *args, **kwargs):
                return 5 * super().__call__(*args, **kwargs)

        class Helpful(keras.layers.Layer):
            def describe(self):
                return self.name

        class Mixed(keras_lip.layers.MaxMin, Loud):
            pass

        class Helped(keras_lip.layers.MaxMin, Helpful):
            pass

        with self.assertRaisesRegex(ValueError, "`Loud` overrides `__call__`"):
            propagate_bound(Mixed(), 1.0)
        self.assertEqual(propagate_bound(Helped(), 1.0), 1.0)

    def test_method_freeze_of_another_layer_is_not_called(self):
        class Backbone(keras.layers.Layer):
            def freeze(self, value=True):
                self.trainable = not value

        layer = Backbone()
        with self.assertRaisesRegex(ValueError, "none is registered"):
            propagate_bound(layer, 1.0)
        self.assertTrue(layer.trainable)

    @on_pytorch_alone
    def test_hook_of_all_modules_is_refused(self):
        from torch.nn.modules.module import register_module_forward_hook

        hook = register_module_forward_hook(lambda *_: None)
        self.addCleanup(hook.remove)
        with self.assertRaisesRegex(ValueError, "which has hooks"):
            propagate_bound(keras_lip.layers.MaxMin(), 1.0)

    def test_layer_of_one_input_is_refused_on_several(self):
        with self.assertRaisesRegex(
            ValueError, "for layers of one input. Received: 2 inputs"
        ):
            propagate_bound(Doubled(), [1.0, 1.0])

    def test_registered_rule_is_used_for_exactly_its_class(self):
        class LoudReLU(layers.ReLU):
            def call(self, inputs):
                return 3 * super().call(inputs)

        class Louder(LoudReLU):
            pass

        @propagate_bound.register(LoudReLU)
        def rule(layer, inputs):
            return 3 * inputs

        self.assertEqual(rule(None, 2.0), 6.0)
        self.assertEqual(propagate_bound(LoudReLU(), 2.0), 6.0)
        self.assertEqual(propagate_bound(layers.ReLU(), 2.0), 2.0)
        with self.assertRaisesRegex(ValueError, "`Louder`"):
            propagate_bound(Louder(), 2.0)

    def test_rule_of_several_classes_and_inputs(self):
        class Custom(layers.Layer):
            def call(self, inputs):
                return inputs[0] + inputs[1]

        propagate_bound.register(Custom, layers.Dot)(
            lambda layer, inputs: sum(inputs)
        )
        for layer in Custom(), layers.Dot(1):
            self.assertEqual(propagate_bound(layer, [1.0, 1.0]), 2.0)
            # The rule is asked of inputs that move by one each: those that move
            # further do so by two, at most.
            self.assertEqual(propagate_bound(layer, [1.0, 2.0]), 4.0)

    def test_registered_rule_does_not_hide_a_replaced_call(self):
        class Custom(layers.Layer):
            def call(self, inputs):
                return inputs

        propagate_bound.register(Custom)(lambda layer, inputs: inputs)
        layer = Custom()
        self.assertEqual(propagate_bound(layer, 1.0), 1.0)
        layer.call = lambda inputs: 2 * inputs
        with self.assertRaisesRegex(ValueError, "replaced on the instance"):
            propagate_bound(layer, 1.0)

    @parameterized.parameters(np.nan, -1.0, -np.inf, np.inf)
    def test_rule_that_returns_no_bound_bounds_nothing(self, value):
        propagate_bound.register(layers.ReLU)(lambda layer, inputs: value)
        self.assertEqual(propagate_bound(layers.ReLU(), 1.0), np.inf)

    def test_only_classes_are_registered(self):
        for wrong in (layers.ReLU(), "ReLU", lambda layer, inputs: inputs):
            with self.assertRaisesRegex(TypeError, "takes classes of layers"):
                propagate_bound.register(wrong)

    @parameterized.named_parameters(("kernel", 0), ("bias", 1))
    def test_weight_that_is_no_number_has_no_bound(self, index):
        for wrong in np.nan, np.inf:
            layer = layers.Dense(2)
            layer.build((None, 2))
            weights = layer.get_weights()
            weights[index].flat[0] = wrong
            layer.set_weights(weights)
            self.assertEqual(propagate_bound(layer, 1.0), np.inf)
            self.assertEqual(propagate_bound(layer, 0.0), np.inf)
