import keras
import numpy as np

from keras_lip import bounds
from keras_lip import layers
from tests.layers.merging.merging_test_case import MergingTestCase


class ConvexAddTest(MergingTestCase):
    def test_contract(self):
        self.run_merging_layer_test(layers.ConvexAdd, {}, (2, 3))

    def test_inputs_are_averaged_at_birth(self):
        x, y, z = (self.normal(2, 3) for _ in range(3))
        outputs = layers.ConvexAdd()([x, y, z])
        self.assertAllClose(outputs, (x + y + z) / 3)

    def test_weights_are_the_softmax_of_the_logits(self):
        x, y = self.normal(2, 3), self.normal(2, 3)
        layer = layers.ConvexAdd()
        layer([x, y])
        layer.logits.assign(np.log([3.0, 1.0]))
        self.assertAllClose(layer([x, y]), 0.75 * x + 0.25 * y)

    def test_logits_of_any_size_choose_an_input(self):
        x, y = self.normal(2, 3), self.normal(2, 3)
        layer = layers.ConvexAdd()
        layer([x, y])
        layer.logits.assign([1e18, -1e18])
        self.assertAllClose(layer([x, y]), x, 0, 0)
        self.assertEqual(layer.lipschitz_bound(), 1.0)

    def test_bound_is_the_norm_of_the_matrix(self):
        layer = layers.ConvexAdd()
        model = self.merge(layer, 2.0, 6.0)
        layer.logits.assign(np.log([3.0, 1.0]))
        bound = bounds.lipschitz_bound(model)
        self.assertAlmostEqual(bound, 3.0, delta=1e-6)
        self.assertAlmostEqual(bound, self.exact_norm(model), delta=1e-5)

    def test_bound_is_of_the_weights_that_run(self):
        layer = layers.ConvexAdd(dtype="mixed_bfloat16")
        layer.build([(None, 3)] * 3)
        # A third is 0.333984375 in bfloat16.
        self.assertAlmostEqual(
            layer.lipschitz_bound(), 3 * 0.333984375, delta=1e-12
        )

    def test_inputs_that_might_broadcast_are_refused(self):
        inputs = keras.Input((None, 1))
        branch = keras.layers.Conv1D(1, 1, strides=2)(inputs)
        model = keras.Model(inputs, layers.ConvexAdd()([inputs, branch]))
        with self.assertRaisesRegex(ValueError, "must be known and the same"):
            bounds.lipschitz_bound(model)

    def test_invalid_inputs_are_refused(self):
        x = self.normal(2, 3)
        for inputs in (x, [x]):
            with self.assertRaisesRegex(ValueError, "at least two inputs"):
                layers.ConvexAdd()(inputs)
        with self.assertRaisesRegex(ValueError, "must not broadcast.*same"):
            layers.ConvexAdd()([x, self.normal(2, 1)])
