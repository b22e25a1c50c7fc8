import keras
import numpy as np
from keras import layers
from keras import ops

import keras_lip
from keras_lip.bounds import lipschitz_bound
from tests.bounds.model_bound_test_case import Block
from tests.bounds.model_bound_test_case import ModelBoundTestCase
from tests.bounds.model_bound_test_case import scale


class LoudSequential(keras.Sequential):
    def call(self, inputs, training=None, mask=None):
        return 10.0 * super().call(inputs, training=training, mask=mask)


class LoudFunctional(keras.Model):
    def __init__(self):
        inputs = keras.Input((3,))
        super().__init__(inputs, scale(2.0)(inputs))

    def call(self, inputs, training=None, mask=None):
        return 10.0 * super().call(inputs, training=training, mask=mask)


class TracedModelBoundTest(ModelBoundTestCase):
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
