import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.bounds import lipschitz_bound
from keras_lip.bounds import propagate_bound
from keras_lip.program import freeze
from tests.lipschitz_test_case import to_numpy
from tests.program.stock.rule_test_case import RuleTestCase


class PoolingTest(RuleTestCase):
    @parameterized.named_parameters(
        ("apart", layers.AveragePooling1D, (3,), {}, (9, 2)),
        ("with_gaps", layers.AveragePooling1D, (2, 3), {}, (8, 1)),
        ("apart_in_2d", layers.AveragePooling2D, (2,), {}, (4, 6, 2)),
        ("uneven", layers.AveragePooling2D, ((1, 3),), {}, (2, 6, 2)),
        ("apart_in_3d", layers.AveragePooling3D, (2,), {}, (2, 4, 2, 1)),
    )
    def test_average_of_separate_windows_is_exact(
        self, layer_cls, sizes, kwargs, shape
    ):
        self.assertBounded(
            self.make_model(layer_cls(*sizes, **kwargs), *shape), slack=1e-5
        )

    # A constant image keeps its norm, but for the border, which a slack of a
    # few percent allows for on an image of 40.
    @parameterized.named_parameters(
        ("by_one", 2, 1, "valid"),
        ("wide", 4, 2, "valid"),
        ("by_one_padded", 2, 1, "same"),
    )
    def test_average_of_windows_that_overlap_is_tight(
        self, size, strides, padding
    ):
        layer = layers.AveragePooling1D(size, strides, padding=padding)
        model = self.make_model(layer, 40, 1)
        slack = 0.05 if padding == "valid" else None
        self.assertBounded(model, slack)

    @parameterized.named_parameters(
        ("uneven", layers.AveragePooling1D, (3, 2), "valid", (10, 2)),
        ("same", layers.AveragePooling1D, (2,), "same", (5, 1)),
        ("same_even_window", layers.AveragePooling1D, (4, 1), "same", (5, 1)),
        ("same_large_window", layers.AveragePooling1D, (5, 2), "same", (3, 1)),
        ("same_odd_window", layers.AveragePooling1D, (3, 2), "same", (8, 1)),
        ("in_2d", layers.AveragePooling2D, (3, 2), "valid", (6, 7, 1)),
        ("same_in_2d", layers.AveragePooling2D, (3, 2), "same", (6, 5, 1)),
        ("overlap_in_2d", layers.AveragePooling2D, (2, 1), "same", (4, 5, 1)),
        ("same_in_3d", layers.AveragePooling3D, (2, 1), "same", (3, 3, 2, 1)),
    )
    def test_average_is_bounded(self, layer_cls, sizes, padding, shape):
        layer = layer_cls(*sizes, padding=padding)
        self.assertBounded(self.make_model(layer, *shape))

    def test_average_of_a_window_beyond_the_border_is_of_one_cell(self):
        layer = layers.AveragePooling2D(3, padding="same")
        model = self.make_model(layer, 1, 1, 1)
        self.assertAlmostEqual(self.exact_norm(model), 1.0, delta=1e-6)
        self.assertAlmostEqual(lipschitz_bound(model), 1.0, delta=1e-12)

    def test_average_of_unknown_size_has_the_bound_of_its_overlap(self):
        # Each cell is in two windows of three, with a third of the weight.
        layer = layers.AveragePooling1D(3, 2)
        for bound in self.bound(layer, None, 1), propagate_bound(layer, 1.0):
            self.assertAlmostEqual(bound, np.sqrt(2 / 3), delta=1e-12)
        # Where all windows are known, they are measured.
        self.assertBounded(self.make_model(layer, 9, 1), slack=1e-5)

    @parameterized.product(
        size=(2, 3, 4, 5, 7), strides=(1, 2, 3), padding=("valid", "same")
    )
    def test_average_of_unknown_size_is_bounded_at_any(
        self, size, strides, padding
    ):
        layer = layers.AveragePooling1D(size, strides, padding=padding)
        bound = self.bound(layer, None, 1)
        # With "same" images may be smaller than a window.
        least = 1 if padding == "same" else size
        for side in range(least, 2 * size + 7):
            exact = self.exact_norm(self.make_model(layer, side, 1))
            self.assertLessEqual(exact, bound * (1 + 1e-5))

    def test_average_of_unknown_size_allows_for_one_pixel(self):
        # Of one pixel, the pooling is the identity.
        layer = layers.AveragePooling2D(7, padding="same")
        self.assertGreaterEqual(self.bound(layer, None, None, 1), 1.0)

    @parameterized.product(
        layer_cls=(layers.AveragePooling2D, layers.MaxPooling2D),
        padding=("valid", "same"),
        sizes=((2, 1), (3, 2), ((4, 3), (1, 2))),
    )
    def test_program_pools_as_keras_does(self, layer_cls, padding, sizes):
        layer = layer_cls(*sizes, padding=padding)
        model = self.make_model(layer, 5, 6, 2)
        x = self.normal(3, 5, 6, 2)
        self.assertAllClose(freeze(model).run(x), model(x))

    @parameterized.named_parameters(
        ("in_1d", layers.GlobalAveragePooling1D, (5, 2)),
        ("in_2d", layers.GlobalAveragePooling2D, (3, 4, 2)),
        ("in_3d", layers.GlobalAveragePooling3D, (2, 3, 2, 2)),
    )
    def test_global_average_is_exact(self, layer_cls, shape):
        for kwargs in (
            {},
            {"keepdims": True},
            {"data_format": "channels_first"},
        ):
            model = self.make_model(layer_cls(**kwargs), *shape)
            self.assertBounded(model, slack=1e-5)

    def test_global_average_of_an_unknown_size_is_not_trusted(self):
        # Of one pixel it is the identity.
        layer = layers.GlobalAveragePooling2D()
        self.assertAlmostEqual(self.bound(layer, None, None, 2), 1, delta=1e-9)
        bound = self.bound(layer, 4, None, 2)
        self.assertAlmostEqual(bound, 0.5, delta=1e-9)
        self.assertEqual(propagate_bound(layer, 3.0), 3.0)

    @parameterized.named_parameters(
        ("apart", layers.MaxPooling1D, (3,), (9, 1), 1.0),
        ("overlap", layers.MaxPooling1D, (3, 1), (9, 1), np.sqrt(3)),
        ("some_overlap", layers.MaxPooling1D, (3, 2), (9, 1), np.sqrt(2)),
        ("apart_in_2d", layers.MaxPooling2D, (2,), (6, 6, 1), 1.0),
        ("overlap_in_2d", layers.MaxPooling2D, (3, 1), (6, 6, 1), 3.0),
        ("uneven", layers.MaxPooling2D, ((3, 2), 1), (6, 6, 1), np.sqrt(6)),
        ("overlap_in_3d", layers.MaxPooling3D, (2, 1), (4, 4, 4, 1), 8**0.5),
    )
    def test_maximum_is_tight(self, layer_cls, sizes, shape, expected):
        for padding in "valid", "same":
            layer = layer_cls(*sizes, padding=padding)
            model = self.make_model(layer, *shape)
            bound = lipschitz_bound(model)
            self.assertAlmostEqual(bound, expected, delta=1e-12)
            # A single peak is the maximum of all windows that it lies in.
            peaks = np.eye(np.prod(shape), dtype="float32")
            outputs = to_numpy(model(peaks.reshape(-1, *shape)))
            norms = np.linalg.norm(outputs.reshape(len(peaks), -1), axis=1)
            self.assertAlmostEqual(norms.max(), expected, delta=1e-5)
            self.assertLipschitz(model, shape, bound)

    @parameterized.named_parameters(
        ("in_1d", layers.GlobalMaxPooling1D, (5, 2)),
        ("in_2d", layers.GlobalMaxPooling2D, (3, 4, 2)),
        ("in_3d", layers.GlobalMaxPooling3D, (2, 3, 2, 2)),
    )
    def test_global_maximum_is_1_lipschitz(self, layer_cls, shape):
        for data_format in "channels_last", "channels_first":
            model = self.make_model(layer_cls(data_format=data_format), *shape)
            self.assertEqual(lipschitz_bound(model), 1.0)
            self.assertLipschitz(model, shape, 1.0)

    @parameterized.named_parameters(
        ("average", layers.AveragePooling2D),
        ("maximum", layers.MaxPooling2D),
    )
    def test_channels_first_are_bounded(self, layer_cls):
        if keras.backend.backend() == "tensorflow":
            self.skipTest("TensorFlow has no pooling of this on CPUs.")
        layer = layer_cls((2, 1), data_format="channels_first")
        model = self.make_model(layer, 3, 4, 5)
        expected = 1 if layer_cls is layers.MaxPooling2D else 2**-0.5
        self.assertAlmostEqual(lipschitz_bound(model), expected, delta=1e-9)
        self.assertLipschitz(model, (3, 4, 5), lipschitz_bound(model))
