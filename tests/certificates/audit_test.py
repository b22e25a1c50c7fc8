import json
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

import keras_lip as kl
from keras_lip.certificates import audit
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.merges import Concatenate
from keras_lip.program.nodes.selections import Slice
from keras_lip.program.proof_cache import forget_proofs
from tests.lipschitz_test_case import LipschitzTestCase


def make_model():
    """A model with preprocessing, a branch and layers of both kinds."""
    inputs = keras.Input((4,))
    x = layers.Rescaling(4.0, name="rescale")(inputs)
    y = kl.layers.OrthogonalDense(4, name="turn")(x)
    x = layers.Add(name="join")([x, y])
    x = kl.layers.MaxMin(name="sort")(x)
    return keras.Model(inputs, layers.Dense(3, name="head")(x))


class AuditTest(LipschitzTestCase):
    def test_layers_are_listed_in_order_with_what_is_proven_of_them(self):
        model = make_model()
        report = audit(model)
        names = ["rescale", "turn", "join", "sort", "head"]
        self.assertEqual([layer.name for layer in report.layers], names)
        rescale, turn, join, sort, head = report.layers
        self.assertAlmostEqual(rescale.bound, 4.0, delta=1e-14)
        self.assertEqual(
            (turn.kind, turn.guarantee), ("OrthogonalDense", "orthogonal")
        )
        self.assertEqual(
            (head.guarantee, head.method), ("none", "singular values")
        )
        self.assertEqual((sort.bound, sort.method), (1.0, "theorem"))
        self.assertAlmostEqual(join.bound, 2.0, delta=1e-5)
        self.assertIsNone(join.estimate)
        norm = self.singular_values(model.layers[-1].kernel).max()
        self.assertAlmostEqual(head.bound, norm, delta=1e-12)
        self.assertEqual(report.lipschitz_bound, head.total)
        self.assertEqual(
            report.lipschitz_bound, kl.bounds.lipschitz_bound(model)
        )
        self.assertAlmostEqual(
            report.lipschitz_bound, 8 * norm, delta=1e-5 * norm
        )

    def test_bound_of_a_layer_is_not_that_of_its_inputs_entries(self):
        class Copies(kl.layers.LipschitzLayer):
            """Returns the added zeros twice, then the first entries."""

            def call(self, x):
                parts = [x[:, 3:], x[:, 3:], x[:, :3]]
                return keras.ops.concatenate(parts, axis=-1)

            def freeze(self, x):
                added = x.then(Slice(((3, None, None),)))
                first = x.then(Slice(((None, 3, None),)))
                return added.then(Concatenate(0), added, first)

        padded = kl.layers.PadChannels(6)
        model = keras.Sequential([keras.Input((3,)), padded, Copies()])
        for steps in None, 10:
            report = audit(model, steps=steps)
            # Zeros do not move, but inputs of this layer alone do.
            self.assertAlmostEqual(report.layers[1].bound, 2**0.5, delta=1e-9)
            self.assertAlmostEqual(report.lipschitz_bound, 1.0, delta=1e-9)

    def test_layer_after_a_merged_layer_has_its_own_bound(self):
        # The padding is read as that of the convolution.
        convolution = layers.Conv2D(1, 3, use_bias=False, name="conv")
        model = keras.Sequential(
            [
                keras.Input((3, 3, 1)),
                layers.Rescaling(0.1),
                layers.ZeroPadding2D(1),
                convolution,
            ]
        )
        kernel = np.zeros((3, 3, 1, 1))
        kernel[1, 1] = 1.0
        convolution.set_weights([kernel])
        last = audit(model).layers[-1]
        self.assertEqual(last.name, "conv")
        self.assertAlmostEqual(last.bound, 1.0, delta=1e-6)
        self.assertAlmostEqual(last.estimate, 1.0, delta=1e-6)
        self.assertAlmostEqual(last.total, 0.1, delta=1e-6)

    def test_estimates_lie_below_and_near(self):
        for layer in audit(make_model(), steps=30).layers:
            if layer.estimate is not None:
                self.assertLessEqual(layer.estimate, layer.bound * (1 + 1e-9))
                self.assertLess(layer.gap, 1e-3)

    @parameterized.parameters(5, "ab", ((2, 0),), ((1.5,),), ((True,),))
    def test_impossible_input_shapes_are_named(self, shape):
        with self.assertRaisesRegex(
            ValueError, "`input_shape` must be a tuple.*Received: input_shape="
        ):
            audit(make_model(), input_shape=shape)

    def test_shares_are_those_of_the_logarithms(self):
        inputs = keras.Input((2,))
        outputs = layers.Rescaling(0.5)(layers.Rescaling(8.0)(inputs))
        first, second = audit(keras.Model(inputs, outputs)).layers
        self.assertAlmostEqual(first.share, 0.75)
        self.assertAlmostEqual(second.share, -0.25)
        (layer,) = audit(keras.Model(inputs, layers.ReLU()(inputs))).layers
        self.assertEqual(layer.share, 0.0)

    def test_bound_below_what_a_layer_does_is_an_error(self):
        model = make_model()
        prove = Dense.prove

        def halve(node, norm, shape):
            # That of the head, by its shape.
            factor = 0.5 if node.kernel.shape == (4, 3) else 1.0
            return factor * prove(node, norm, shape)

        forget_proofs()
        self.addCleanup(forget_proofs)
        with (
            mock.patch.object(Dense, "prove", halve),
            self.assertRaisesRegex(
                RuntimeError, "Layer 'head' of type `Dense`"
            ),
        ):
            audit(model)
        forget_proofs()
        audit(model)

    def test_layers_after_a_constant_keep_their_bounds(self):
        inputs = keras.Input((4,))
        x = layers.Dense(4, kernel_initializer="zeros")(inputs)
        report = audit(keras.Model(inputs, layers.Rescaling(3.0)(x)))
        zero, scaled = report.layers
        self.assertEqual((zero.bound, zero.total), (0.0, 0.0))
        self.assertEqual((scaled.bound, scaled.total), (3.0, 0.0))
        self.assertEqual(report.lipschitz_bound, 0.0)

    def test_layers_of_nested_models_are_listed(self):
        inner = keras.Sequential([keras.Input((4,)), layers.ReLU(name="inner")])
        inputs = keras.Input((4,))
        outputs = inner(kl.layers.MaxMin(name="first")(inputs))
        report = audit(keras.Model(inputs, outputs), steps=None)
        names = [layer.name for layer in report.layers]
        self.assertEqual(names, ["first", "inner"])
        self.assertIsNone(report.layers[0].estimate)
        self.assertIsNone(report.layers[0].gap)

    def test_convolutions_say_by_which_method_they_were_bounded(self):
        inputs = keras.Input((4, 4, 2))
        x = kl.layers.BCOPConv2D(2, 3, name="orthogonal")(inputs)
        x = layers.Conv2D(2, 3, name="plain")(x)
        orthogonal, plain = audit(keras.Model(inputs, x), steps=5).layers
        self.assertEqual(orthogonal.method, "kernel Gram")
        self.assertEqual(plain.method, "image frequencies")
        inputs = keras.Input((None, None, 2))
        open_sizes = keras.Model(inputs, layers.Conv2D(2, 3)(inputs))
        (plain,) = audit(open_sizes, input_shape=(4, 4, 2), steps=5).layers
        self.assertEqual(plain.method, "image frequencies")
        with self.assertRaisesRegex(ValueError, "`input_shape` that fits"):
            audit(open_sizes, input_shape=(None, 4, 4, 2))
        (plain,) = audit(open_sizes, steps=None).layers
        self.assertEqual(plain.method, "frequency cells")

    def test_largest_entries_are_audited_in_their_norm(self):
        model = keras.Sequential(
            [
                keras.Input((4,)),
                kl.layers.LinfDense(4),
                kl.layers.GroupSort(2),
                kl.layers.LinfDense(3),
            ]
        )
        report = audit(model)
        self.assertEqual(report.norm, "linf")
        self.assertAlmostEqual(report.lipschitz_bound, 1.0, delta=1e-5)
        for layer in report.layers:
            self.assertLess(abs(layer.gap), 1e-3)
        self.assertEqual(report.layers[0].method, "sums of magnitudes")

    def test_table_and_json_hold_everything(self):
        report = audit(make_model(), steps=5)
        text = str(report)
        for layer in report.layers:
            self.assertIn(layer.name, text)
        self.assertIn(report.sha256, text)
        self.assertIn(f"{report.lipschitz_bound:.8g}", text)
        path = self.temporary_path("audit.json")
        report.save(path)
        content = json.loads(path.read_text())
        self.assertEqual(content["sha256"], report.sha256)
        self.assertEqual(content["lipschitz_bound"], report.lipschitz_bound)
        self.assertAlmostEqual(content["layers"][0]["bound"], 4.0)
        self.assertEqual(len(content["layers"]), 5)
        self.assertNotEmpty(content["assumptions"])
        with self.assertRaisesRegex(ValueError, "is something at"):
            report.save(path)
        with self.assertRaisesRegex(ValueError, "must end in .json"):
            report.save(self.temporary_path("audit.txt"))

    def test_infinite_bound_is_valid_json(self):
        model = make_model()
        kernel = np.full((4, 3), np.nan)
        model.layers[-1].set_weights([kernel, np.zeros(3)])
        report = audit(model, steps=2)
        self.assertEqual(report.lipschitz_bound, np.inf)
        content = json.loads(report.to_json())
        self.assertEqual(content["lipschitz_bound"], "inf")

    @parameterized.parameters(0, 1.5, "many")
    def test_steps_must_be_a_positive_integer(self, steps):
        with self.assertRaisesRegex(ValueError, "`steps` must be"):
            audit(make_model(), steps=steps)

    def test_unknown_norm_and_layer_are_refused(self):
        with self.assertRaisesRegex(ValueError, "known ones are: 'l2', 'linf'"):
            audit(make_model(), norm="l3")
        inputs = keras.Input((4,))
        outputs = layers.LayerNormalization(name="norm")(inputs)
        model = keras.Model(inputs, outputs)
        with self.assertRaisesRegex(ValueError, "layer 'norm'"):
            audit(model)
        soft = keras.Model(inputs, layers.Softmax()(inputs))
        self.assertEqual(audit(soft).lipschitz_bound, 0.5)
