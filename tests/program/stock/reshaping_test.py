import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.bounds import lipschitz_bound
from keras_lip.bounds import propagate_bound
from keras_lip.program import freeze
from keras_lip.program.arithmetic import LIVE
from keras_lip.program.arithmetic import get_arithmetic
from keras_lip.program.enclosure import Machine
from tests.lipschitz_test_case import to_numpy
from tests.program.stock.rule_test_case import RuleTestCase


class ReshapingTest(RuleTestCase):
    @parameterized.named_parameters(
        ("flatten", layers.Flatten, {}, (2, 3, 2)),
        (
            "flatten_channels_first",
            layers.Flatten,
            {"data_format": "channels_first"},
            (2, 3, 2),
        ),
        ("flatten_scalars", layers.Flatten, {}, ()),
        ("permute", layers.Permute, {"dims": (2, 3, 1)}, (2, 3, 4)),
        ("reshape", layers.Reshape, {"target_shape": (3, -1)}, (2, 3, 2)),
        ("reshape_to_scalars", layers.Reshape, {"target_shape": ()}, (1,)),
        ("cropping_1d", layers.Cropping1D, {"cropping": (1, 2)}, (6, 2)),
        ("cropping_2d", layers.Cropping2D, {"cropping": (1, 0)}, (4, 3, 2)),
        ("cropping_3d", layers.Cropping3D, {}, (3, 3, 4, 1)),
        ("padding_1d", layers.ZeroPadding1D, {"padding": (1, 2)}, (3, 2)),
        ("padding_2d", layers.ZeroPadding2D, {}, (3, 2, 2)),
        (
            "padding_channels_first",
            layers.ZeroPadding2D,
            {"data_format": "channels_first"},
            (3, 2, 2),
        ),
        ("padding_3d", layers.ZeroPadding3D, {}, (2, 2, 2, 1)),
        ("center", layers.CenterCrop, {"height": 2, "width": 1}, (5, 4, 2)),
        ("repeat", layers.RepeatVector, {"n": 3}, (4,)),
        ("up_sampling_1d", layers.UpSampling1D, {"size": 3}, (4, 2)),
        ("up_sampling_2d", layers.UpSampling2D, {"size": (2, 3)}, (2, 3, 2)),
        (
            "up_sampling_channels_first",
            layers.UpSampling2D,
            {"size": (2, 3), "data_format": "channels_first"},
            (2, 3, 2),
        ),
        ("up_sampling_3d", layers.UpSampling3D, {}, (2, 1, 2, 2)),
    )
    def test_bound_is_the_norm_of_the_matrix(self, layer_cls, kwargs, shape):
        model = self.make_model(layer_cls(**kwargs), *shape)
        self.assertBounded(model, slack=1e-5)

    def test_copies_count_as_their_root(self):
        bound = propagate_bound(layers.RepeatVector(4), 1.5)
        self.assertEqual(bound, 3.0)
        bound = propagate_bound(layers.UpSampling2D((2, 8)), 1.5)
        self.assertGreaterEqual(bound, 6.0)
        self.assertAlmostEqual(bound, 6.0, delta=1e-12)

    @parameterized.parameters(((2, 3), (2, 3, 2)), ((4, 1), (1, 2, 1)))
    def test_up_sampling_between_two_pixels_is_bounded(self, size, shape):
        layer = layers.UpSampling2D(size, interpolation="bilinear")
        model = self.make_model(layer, *shape)
        self.assertBounded(model, slack=1e-5)
        x = self.normal(3, *shape)
        self.assertAllClose(freeze(model).run(x), model(x), 1e-5, 1e-5)
        bound = self.bound(layer, None, None, shape[-1])
        self.assertLessEqual(self.exact_norm(model), bound)

    def test_up_sampling_between_pixels_of_a_large_image(self):
        # Positions are rounded to float32, and their errors grow.
        layer = layers.UpSampling2D((1, 3), interpolation="bilinear")
        model = self.make_model(layer, 1, 1000, 1)
        program, x = freeze(model), np.zeros((1, 1, 1000, 1))
        x[0, 0, 998:, 0] = 1.0, -1.0
        (outputs,) = program.enclose(x, Machine(LIVE, sharp=False))
        off = np.linalg.norm(outputs.value - to_numpy(model(x)))
        self.assertLessEqual(off, outputs.error[0, 0])
        self.assertLess(outputs.error[0, 0], 0.01)
        with self.assertRaisesRegex(ValueError, "accuracy of its weights"):
            program.enclose(x, Machine(get_arithmetic("float32"), sharp=True))

    @parameterized.parameters("bicubic", "lanczos3")
    def test_up_sampling_of_more_than_two_pixels_is_refused(
        self, interpolation
    ):
        layer = layers.UpSampling2D(interpolation=interpolation)
        model = self.make_model(layer, 2, 2, 1)
        with self.assertRaisesRegex(
            ValueError, f"must have interpolation=.*'{interpolation}'"
        ):
            lipschitz_bound(model)

    def test_center_crop_that_resizes_is_refused(self):
        for shape in (2, 5, 1), (None, 5, 1):
            with self.assertRaisesRegex(ValueError, "it may resize images"):
                self.bound(layers.CenterCrop(3, 3), *shape)
