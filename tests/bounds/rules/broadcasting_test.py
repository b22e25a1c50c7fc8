from absl.testing import parameterized
from keras import layers

from keras_lip.bounds.bound import Bound
from keras_lip.bounds.rules.broadcasting import check_fits
from keras_lip.bounds.rules.broadcasting import check_same_shapes
from tests.lipschitz_test_case import LipschitzTestCase


class BroadcastingTest(LipschitzTestCase):
    @parameterized.named_parameters(
        ("scalar", (None, 3), ()),
        ("one", (None, 3), (1,)),
        ("channels", (None, 4, 3), (3,)),
        ("steps", (None, 4, 3), (4, 1)),
        ("whole_sample", (None, 4, 3), (4, 3)),
        ("with_a_batch_axis", (None, 4, 3), (1, 4, 3)),
        ("known_batch", (2, 3), (2, 1)),
        ("unknown_axis", (None, None, 3), (1, 3)),
    )
    def test_parameter_that_fits_is_accepted(self, input_shape, shape):
        check_fits(layers.Identity(), Bound(1.0, input_shape), shape)

    @parameterized.named_parameters(
        ("wider", (None, 1), (3,)),
        ("unknown_axis", (None, None), (3,)),
        ("longer", (None, 1, 3), (4, 3)),
        ("across_samples", (None, 3), (2, 1)),
        ("of_more_axes", (None, 3), (1, 1, 3)),
    )
    def test_parameter_that_enlarges_is_refused(self, input_shape, shape):
        with self.assertRaisesRegex(ValueError, "'mine' must not broadcast"):
            check_fits(
                layers.Identity(name="mine"), Bound(1.0, input_shape), shape
            )

    def test_nothing_is_checked_without_a_shape(self):
        check_fits(layers.Identity(), 1.0, (3,))
        check_same_shapes(layers.Identity(), [1.0, 2.0])

    def test_batch_of_unknown_size_is_no_reason_to_refuse(self):
        bounds = [Bound(1.0, (None, 3)), Bound(2.0, (None, 3))]
        check_same_shapes(layers.Identity(), bounds)

    @parameterized.named_parameters(
        ("other_size", (None, 3), (None, 1)),
        ("other_rank", (None, 3), (None, 1, 3)),
        ("unknown_size", (None, None, 3), (None, None, 3)),
        ("one_unknown_size", (None, None, 3), (None, 4, 3)),
    )
    def test_shapes_that_may_differ_are_refused(self, first, second):
        bounds = [Bound(1.0, first), Bound(2.0, second)]
        with self.assertRaisesRegex(ValueError, "must not broadcast"):
            check_same_shapes(layers.Identity(), bounds)
