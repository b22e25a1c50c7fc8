import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.metrics.labels import to_one_hot
from tests.lipschitz_test_case import LipschitzTestCase


class LabelsTest(LipschitzTestCase):
    @parameterized.parameters(
        ([2, 0],), ([[2], [0]],), ([[0, 0, 1], [1, 0, 0]],), ([2.0, 0.0],)
    )
    def test_every_form_gives_the_same_rows(self, labels):
        one_hot = to_one_hot(ops.convert_to_tensor(labels), 3)
        self.assertAllClose(one_hot, [[0, 0, 1], [1, 0, 0]])

    @parameterized.parameters(([0, 1],), ([-1, 1],), ([[-1.0], [1.0]],))
    def test_binary_labels_have_two_columns(self, labels):
        one_hot = to_one_hot(ops.convert_to_tensor(labels), 1)
        self.assertAllClose(one_hot, [[1, 0], [0, 1]])

    def test_a_label_that_is_no_class_has_a_row_of_zeros(self):
        for labels, classes in (
            ([3, -1], 3),
            ([0.5, np.nan], 3),
            ([[0.9, 0.05, 0.05], [1, 1, 0]], 3),
            ([[0, 0, 0], [1, 0.5, 0]], 3),
            ([2, -2], 1),
        ):
            one_hot = to_one_hot(ops.convert_to_tensor(labels), classes)
            self.assertAllClose(one_hot, np.zeros((2, max(classes, 2))))

    def test_another_shape_is_refused(self):
        for shape in ((4, 2), (4, 3, 1), ()):
            with self.assertRaisesRegex(ValueError, "Labels must have shape"):
                to_one_hot(ops.zeros(shape), 3)
        with self.assertRaisesRegex(ValueError, r"y_true of shape \(4, 2\)"):
            to_one_hot(ops.zeros((4, 2)), 1)
