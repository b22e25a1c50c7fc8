from absl.testing import parameterized

from keras_lip.applications.options import make_activation
from keras_lip.applications.options import make_head
from tests.lipschitz_test_case import LipschitzTestCase


class OptionsTest(LipschitzTestCase):
    @parameterized.parameters(
        ("absolute", "AbsoluteValue"),
        ("groupsort", "GroupSort"),
        ("householder", "Householder"),
        ("maxmin", "MaxMin"),
        ("relu", "ReLU"),
    )
    def test_a_name_stands_for_an_activation(self, activation, kind):
        layer = make_activation(activation)
        self.assertEqual(type(layer).__name__, kind)

    def test_a_name_stands_for_a_head(self):
        head = make_head("curvature", 3, hidden_units=5)
        self.assertEqual(type(head).__name__, "CurvatureHead")
        self.assertEqual((head.units, head.hidden_units), (3, 5))
        self.assertEqual(make_head("curvature", 3).hidden_units, 4096)
        head = make_head("orthogonal", 3, "qr")
        self.assertEqual(type(head).__name__, "OrthogonalDense")
        self.assertEqual(type(head.parametrization).__name__, "QR")
        self.assertEqual(head.units, 3)
        head = make_head("truncation", 3)
        self.assertEqual(type(head).__name__, "TruncateChannels")
        self.assertEqual(head.channels, 3)
        head = make_head("unit_norm", 3)
        self.assertEqual(type(head).__name__, "UnitNormDense")
        self.assertEqual(head.units, 3)

    def test_unknown_names_are_refused(self):
        with self.assertRaisesRegex(
            ValueError,
            "Unknown activation: 'tanh'. The known ones are: 'absolute', "
            "'groupsort', 'householder', 'maxmin', 'relu'",
        ):
            make_activation("tanh")
        with self.assertRaisesRegex(
            ValueError,
            "Unknown head: 'dense'. The known ones are: 'curvature', "
            "'orthogonal', 'truncation', 'unit_norm'",
        ):
            make_head("dense", 3)

    def test_the_number_of_classes_must_be_positive(self):
        with self.assertRaisesRegex(ValueError, "`classes` must be a positive"):
            make_head("unit_norm", 0)

    def test_hidden_units_must_be_positive_for_every_head(self):
        for head in ("curvature", "unit_norm"):
            with self.assertRaisesRegex(ValueError, "`hidden_units` must be"):
                make_head(head, 3, hidden_units=0)
