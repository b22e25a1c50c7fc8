import sys

import keras
import numpy as np
from absl.testing import parameterized
from keras import layers
from keras import ops

from keras_lip.graph import deep_recursion
from keras_lip.graph import get_graph
from keras_lip.graph import get_operation
from keras_lip.graph import match_inputs
from keras_lip.graph import run_graph
from keras_lip.graph import trace_layer
from tests.lipschitz_test_case import LipschitzTestCase


class Residual(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)
        self.seen = []

    def call(self, inputs, training=None):
        self.seen.append((tuple(inputs.shape), training))
        return inputs + self.dense(inputs)


class Loud(keras.Model):
    """Becomes a functional model, with another `call`."""

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs)


def trace(model, *inputs):
    """Writes down what a walk of the graph meets."""
    steps = []

    def apply(operation, outputs, args, kwargs):
        named = operation.name.rstrip("_0123456789")
        steps.append((named, args, kwargs))
        if isinstance(operation, keras.Model):
            return run_graph(operation, keras.tree.flatten(args), apply)
        values = [f"{named}{len(steps)}"]
        return values * len(outputs)

    return run_graph(model, list(inputs), apply), steps


class RunGraphTest(LipschitzTestCase):
    def test_nodes_are_met_in_order_with_their_arguments(self):
        inputs = keras.Input((3,))
        first = layers.Dense(3, name="first")(inputs)
        second = layers.Dense(3, name="second")(first)
        joined = layers.Add(name="joined")([inputs, second])
        model = keras.Model(inputs, 2 * joined)
        outputs, steps = trace(model, "x")
        self.assertEqual(
            steps,
            [
                ("first", ("x",), {}),
                ("second", ("first1",), {}),
                ("joined", (["x", "second2"],), {}),
                ("multiply", (2, "joined3"), {}),
            ],
        )
        self.assertEqual(outputs, ["multiply4"])

    def test_arguments_of_a_call_are_seen(self):
        inputs = keras.Input((3,))
        outputs = layers.Dropout(0.5, name="drop")(inputs, training=True)
        _, steps = trace(keras.Model(inputs, outputs), "x")
        self.assertEqual(steps, [("drop", ("x",), {"training": True})])

    def test_layer_called_twice_is_met_twice(self):
        inputs = keras.Input((3,))
        layer = layers.ReLU(name="shared")
        _, steps = trace(keras.Model(inputs, layer(layer(inputs))), "x")
        self.assertEqual(
            [step[:2] for step in steps],
            [("shared", ("x",)), ("shared", ("shared1",))],
        )

    def test_what_does_not_lead_to_the_output_is_not_met(self):
        inputs = keras.Input((3,))
        layers.ReLU(name="aside")(inputs)
        outputs = layers.ReLU(name="used")(inputs)
        _, steps = trace(keras.Model(inputs, outputs), "x")
        self.assertEqual([step[0] for step in steps], ["used"])

    def test_several_inputs_and_outputs_keep_their_order(self):
        first, second = keras.Input((3,)), keras.Input((3,))
        outputs = [layers.ReLU(name="of_second")(second), first]
        with self.needs_newer_keras():
            model = keras.Model([first, second], outputs)
        values, steps = trace(model, "a", "b")
        self.assertEqual(values, ["of_second1", "a"])
        self.assertEqual(steps[0][1], ("b",))

    def test_nested_models_are_walked_by_the_caller(self):
        inner = keras.Sequential(
            [keras.Input((3,)), layers.ReLU(name="inner")], name="stack"
        )
        inputs = keras.Input((3,))
        values, steps = trace(keras.Model(inputs, inner(inputs)), "x")
        self.assertEqual([step[0] for step in steps], ["stack", "inner"])
        self.assertEqual(values, ["inner2"])

    def test_graph_of_a_model_is_walked_as_the_model(self):
        model = Residual()
        model(np.zeros((1, 3)))
        self.assertEqual(trace(get_graph(model), "x"), trace(model, "x"))

    def test_wrong_number_of_inputs_is_refused(self):
        inputs = keras.Input((3,))
        with self.assertRaises(ValueError):
            trace(keras.Model(inputs, layers.ReLU()(inputs)), "a", "b")


class GetGraphTest(LipschitzTestCase):
    def test_graph_of_a_functional_model_is_its_own(self):
        inputs = keras.Input((3,))
        model = keras.Model(inputs, layers.ReLU()(inputs))
        self.assertIs(get_graph(model), model)
        self.assertIs(get_graph(get_graph(model)), model)

    def test_graph_of_a_stack_is_that_of_its_layers(self):
        model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
        graph = get_graph(model)
        self.assertEqual(graph.inputs[0].shape, (None, 3))
        self.assertEqual(graph.outputs[0].shape, (None, 2))
        model.add(layers.Dense(5))
        self.assertEqual(get_graph(model).outputs[0].shape, (None, 5))

    def test_subclassed_model_is_traced_at_inference(self):
        model = Residual()
        model(np.zeros((4, 3)))
        model.seen.clear()
        graph = get_graph(model)
        self.assertEqual(model.seen, [((None, 3), False)])
        self.assertEqual(graph.outputs[0].shape, (None, 3))

    def test_subclassed_model_is_traced_on_a_given_shape(self):
        model = Residual()
        model(np.zeros((4, 3)))
        graph = get_graph(model, (None, 7, 3))
        self.assertEqual(graph.outputs[0].shape, (None, 7, 3))

    def test_trace_is_in_the_dtype_that_runs(self):
        model = Residual()
        model(np.zeros((4, 3)))
        model.dtype_policy = "mixed_bfloat16"
        self.assertEqual(get_graph(model).inputs[0].dtype, "bfloat16")

    def test_trace_leaves_the_layers_as_it_found_them(self):
        inputs = keras.Input((3,))
        models = [Residual(), Loud(inputs, layers.ReLU()(inputs) + 1)]
        for model in models:
            model(np.zeros((4, 3)))
            kept = [
                *model._flatten_layers(),
                *getattr(model, "operations", []),
            ]
            before = [
                (len(x._inbound_nodes), len(x._outbound_nodes)) for x in kept
            ]
            get_graph(model)
            after = [
                (len(x._inbound_nodes), len(x._outbound_nodes)) for x in kept
            ]
            self.assertEqual(before, after)

    def test_failed_trace_leaves_the_layers_as_it_found_them(self):
        class Failing(Residual):
            def call(self, inputs):
                outputs = super().call(inputs)
                if isinstance(outputs, keras.KerasTensor) and self.fails:
                    raise RuntimeError("Not today.")
                return outputs

        model = Failing()
        model.fails = False
        model(np.zeros((4, 3)))
        before = len(model.dense._inbound_nodes)
        model.fails = True
        with self.assertRaisesRegex(ValueError, "tensors: Not today. Use only"):
            get_graph(model)
        self.assertLen(model.dense._inbound_nodes, before)

    @parameterized.named_parameters(
        ("class", lambda model: None),
        (
            "instance",
            lambda model: setattr(model, "call", lambda x: 2 * ops.relu(x)),
        ),
    )
    def test_overridden_call_is_traced_not_trusted(self, replace):
        inputs = keras.Input((3,))
        model = Loud(inputs, layers.ReLU()(inputs))
        replace(model)
        graph = get_graph(model)
        self.assertIsNot(graph, model)
        names = [operation.name for operation in graph.operations]
        self.assertTrue(names[-1].startswith("multiply"))

    def test_functional_subclass_with_its_own_call_is_not_traced(self):
        class Quiet(keras.Model):
            pass

        inputs = keras.Input((3,))
        model = Quiet(inputs, layers.ReLU()(inputs))
        self.assertIs(get_graph(model), model)

    def test_what_is_no_model_is_refused(self):
        with self.assertRaisesRegex(TypeError, "of type `Dense`"):
            get_graph(layers.Dense(3))

    def test_model_that_is_not_built_is_refused(self):
        for model in Residual(), keras.Sequential([layers.Dense(2)]):
            with self.assertRaisesRegex(ValueError, "is not built. Start it"):
                get_graph(model)

    def test_model_whose_input_shape_is_unknown_is_refused(self):
        model = Residual()
        model.built = True
        with self.assertRaisesRegex(
            ValueError, "does not know its input shape"
        ):
            get_graph(model)

    def test_model_of_several_inputs_is_not_traced(self):
        class Sum(keras.Model):
            def call(self, inputs):
                return inputs[0] + inputs[1]

        traced = Sum()
        traced([np.zeros((1, 3)), np.zeros((1, 3))])
        first, second = keras.Input((3,)), keras.Input((3,))
        for model in traced, Loud([first, second], first + second):
            with self.assertRaisesRegex(ValueError, "inputs of several shapes"):
                get_graph(model)


class TraceLayerTest(LipschitzTestCase):
    def test_call_of_a_layer_is_traced_at_inference(self):
        class Custom(layers.Layer):
            def __init__(self):
                super().__init__()
                self.dense = layers.Dense(2)
                self.seen = []

            def call(self, inputs, training=None):
                self.seen.append((tuple(inputs.shape), training))
                return self.dense(inputs) + 1.0

        layer = Custom()
        layer(np.zeros((4, 3)))
        layer.seen.clear()
        before = len(layer.dense._inbound_nodes)
        graph = trace_layer(layer, [(5, 3)], "float32")
        self.assertEqual(layer.seen, [((None, 5, 3), False)])
        self.assertEqual(graph.outputs[0].shape, (None, 5, 2))
        _, steps = trace(graph, "x")
        self.assertEqual(len(steps), 2)
        # The trace leaves the layers as it found them.
        self.assertLen(layer.dense._inbound_nodes, before)

    def test_layer_of_several_inputs_is_traced_on_a_list(self):
        class Difference(layers.Layer):
            def call(self, inputs):
                first, second = inputs
                return first - second

        graph = trace_layer(Difference(), [(3,), (3,)], "float64")
        self.assertEqual([x.dtype for x in graph.inputs], ["float64"] * 2)
        _, steps = trace(graph, "a", "b")
        self.assertEqual(steps, [("subtract", ("a", "b"), {})])


class MatchInputsTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.first = keras.Input((3,), name="b")
        self.second = keras.Input((3,), name="a")
        self.outputs = self.first + self.second

    def test_list_keeps_its_order(self):
        graph = keras.Model([self.first, self.second], self.outputs)
        self.assertEqual(match_inputs(graph, [1, 2]), [1, 2])
        self.assertEqual(match_inputs(graph, (1, 2)), [1, 2])

    def test_dictionary_for_a_list_goes_by_names(self):
        graph = keras.Model([self.first, self.second], self.outputs)
        self.assertEqual(match_inputs(graph, {"a": 1, "b": 2}), [2, 1])

    def test_dictionary_for_a_dictionary_goes_by_keys(self):
        inputs = {"b": self.first, "a": self.second}
        graph = keras.Model(inputs, self.outputs)
        self.assertEqual(match_inputs(graph, {"b": 2, "a": 1}), [1, 2])
        self.assertIs(graph.inputs[0], self.second)

    def test_single_tensor_is_a_list_of_one(self):
        graph = keras.Model(self.first, layers.ReLU()(self.first))
        self.assertEqual(match_inputs(graph, 1), [1])


class GetOperationTest(LipschitzTestCase):
    def test_operation_that_made_a_tensor_is_found(self):
        layer = layers.Dense(3)
        outputs = layer(keras.Input((3,)))
        self.assertIs(get_operation(outputs), layer)
        self.assertTrue(get_operation(2 * outputs).name.startswith("multiply"))


class DeepRecursionTest(LipschitzTestCase):
    def test_limit_is_raised_and_restored(self):
        before = sys.getrecursionlimit()
        with deep_recursion():
            self.assertGreaterEqual(sys.getrecursionlimit(), 10_000)
            _descend(5_000)
        self.assertEqual(sys.getrecursionlimit(), before)
        with self.assertRaises(ValueError), deep_recursion():
            raise ValueError
        self.assertEqual(sys.getrecursionlimit(), before)

    def test_a_higher_limit_is_left_alone(self):
        before = sys.getrecursionlimit()
        self.addCleanup(sys.setrecursionlimit, before)
        sys.setrecursionlimit(10**6)
        with deep_recursion():
            self.assertEqual(sys.getrecursionlimit(), 10**6)
        self.assertEqual(sys.getrecursionlimit(), 10**6)


def _descend(depth):
    if depth:
        _descend(depth - 1)
