import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import bounds
from keras_lip import layers
from tests.layers.merging.merging_test_case import MergingTestCase


class LipschitzConcatenateTest(MergingTestCase):
    @parameterized.parameters((-1, (3,)), (1, (2, 3)))
    def test_contract(self, axis, shape):
        self.run_merging_layer_test(
            layers.LipschitzConcatenate, {"axis": axis}, shape
        )

    def test_inputs_are_concatenated_and_scaled(self):
        x, y = self.normal(2, 3, 4), self.normal(2, 3, 1)
        expected = np.concatenate([x, y], axis=-1) / np.sqrt(2)
        outputs = layers.LipschitzConcatenate()([x, y])
        self.assertAllClose(outputs, expected)

    @parameterized.parameters((2.0, 3.0), (2.0, 3.0, 6.0))
    def test_bound_is_the_norm_of_the_matrix(self, *scales):
        model = self.merge(layers.LipschitzConcatenate(), *scales)
        bound = bounds.lipschitz_bound(model)
        expected = np.linalg.norm(scales) / np.sqrt(len(scales))
        self.assertAlmostEqual(bound, expected, delta=1e-6)
        self.assertAlmostEqual(bound, self.exact_norm(model), delta=1e-5)

    def test_bound_is_of_the_factor_that_runs(self):
        layer = layers.LipschitzConcatenate(dtype="bfloat16")
        layer.build([(None, 3), (None, 3)])
        # 1 / sqrt(2) is 0.70703125 in bfloat16.
        self.assertAlmostEqual(
            layer.lipschitz_bound(), 0.70703125 * 2**0.5, delta=1e-12
        )

    def test_unknown_sizes_may_be_concatenated(self):
        layer = layers.LipschitzConcatenate()
        inputs = keras.Input((None, 2))
        model = keras.Model(inputs, layer([inputs, inputs]))
        self.assertAlmostEqual(bounds.lipschitz_bound(model), 1.0, delta=1e-6)
        shapes = [(None, 2, None), (None, 2, 3)]
        self.assertEqual(layer.compute_output_shape(shapes), (None, 2, None))

    @parameterized.parameters(0, -2, 2)
    def test_axis_that_is_none_of_a_sample_is_refused(self, axis):
        x = self.normal(2, 3)
        with self.assertRaisesRegex(ValueError, "`axis` of layer"):
            layers.LipschitzConcatenate(axis)([x, x])

    def test_invalid_inputs_are_refused(self):
        x = self.normal(2, 3)
        for inputs in (x, [x]):
            with self.assertRaisesRegex(ValueError, "at least two inputs"):
                layers.LipschitzConcatenate()(inputs)
        with self.assertRaisesRegex(ValueError, "same, except on axis -1"):
            layers.LipschitzConcatenate()(
                [self.normal(2, 3, 4), self.normal(2, 1, 4)]
            )
