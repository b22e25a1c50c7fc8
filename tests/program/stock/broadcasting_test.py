import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.bounds import lipschitz_bound
from keras_lip.bounds import propagate_bound
from keras_lip.program import freeze_layer
from keras_lip.program.builder import Builder
from keras_lip.program.freezing.checks import check_same_shapes
from tests.program.stock.rule_test_case import RuleTestCase


class BroadcastingTest(RuleTestCase):
    @parameterized.named_parameters(
        ("scalar", (3,), ()),
        ("one", (3,), (1,)),
        ("channels", (4, 3), (3,)),
        ("steps", (4, 3), (4, 1)),
        ("whole_sample", (4, 3), (4, 3)),
        ("with_a_batch_axis", (4, 3), (1, 4, 3)),
        ("unknown_axis", (None, 3), (1, 3)),
    )
    def test_parameter_that_fits_is_accepted(self, input_shape, shape):
        layer = layers.Rescaling(np.full(shape, 2.0), np.full(shape, 1.0))
        program = freeze_layer(layer, [input_shape])
        self.assertEqual(program.bounds("l2").output, 2.0)
        model = self.make_model(layer, *input_shape)
        self.assertEqual(model.output_shape, (None, *input_shape))

    @parameterized.named_parameters(
        ("wider", (1,), (3,)),
        ("unknown_axis", (None,), (3,)),
        ("longer", (1, 3), (4, 3)),
        ("across_samples", (3,), (2, 1)),
        ("of_more_axes", (3,), (1, 1, 3)),
    )
    def test_parameter_that_enlarges_is_refused(self, input_shape, shape):
        for kwargs in (
            {"scale": np.ones(shape)},
            {"scale": 1.0, "offset": np.ones(shape)},
        ):
            layer = layers.Rescaling(**kwargs, name="mine")
            with self.assertRaisesRegex(
                ValueError, "'mine' must not broadcast"
            ):
                freeze_layer(layer, [input_shape])

    def test_layer_that_may_broadcast_must_be_built(self):
        self.assertEqual(propagate_bound(layers.Rescaling(3.0), 1.0), 3.0)
        layer = layers.Rescaling([1, 3, 2])
        with self.assertRaisesRegex(ValueError, "Build it for inputs of its"):
            propagate_bound(layer, 1.0)
        layer.build((None, 3))
        self.assertEqual(propagate_bound(layer, 1.0), 3.0)

    @parameterized.parameters(
        layers.Add,
        layers.Average,
        layers.Maximum,
        layers.Minimum,
        layers.Subtract,
    )
    def test_branches_are_those_that_a_layer_was_built_with(self, layer_cls):
        layer = layer_cls()
        with self.assertRaisesRegex(ValueError, "Build a layer for them"):
            propagate_bound(layer, [1.0, 2.0])
        layer.build([(None, 1), (None, 9)])
        with self.assertRaisesRegex(ValueError, "must not broadcast"):
            propagate_bound(layer, [1.0, 0.0])
        layer = layer_cls()
        layer.build([(None, 9), (None, 9)])
        self.assertGreater(propagate_bound(layer, [1.0, 2.0]), 1.4)

    def check(self, *shapes):
        builder = Builder(shapes, ["float32"] * len(shapes), None)
        check_same_shapes(layers.Identity(), tuple(builder.inputs))

    def test_branches_of_one_shape_are_accepted(self):
        self.check((3,), (3,))

    @parameterized.named_parameters(
        ("other_size", (3,), (1,)),
        ("other_rank", (3,), (1, 3)),
        ("unknown_size", (None, 3), (None, 3)),
        ("one_unknown_size", (None, 3), (4, 3)),
        ("unknown_shapes", None, None),
        ("one_unknown_shape", None, (3,)),
    )
    def test_shapes_that_may_differ_are_refused(self, first, second):
        with self.assertRaisesRegex(ValueError, "must not broadcast"):
            self.check(first, second)

    def test_batches_of_any_size_are_no_reason_to_refuse(self):
        first, second = keras.Input((3,)), keras.Input((3,), batch_size=2)
        for inputs in first, second:
            outputs = layers.Add()([inputs, layers.ReLU()(inputs)])
            model = keras.Model(inputs, outputs)
            self.assertEqual(lipschitz_bound(model), 2.0)
