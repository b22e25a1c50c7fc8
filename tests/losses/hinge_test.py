from keras import ops

from keras_lip.losses import hinge
from tests.lipschitz_test_case import LipschitzTestCase


class HingeTest(LipschitzTestCase):
    def test_binary_hinge_is_zero_beyond_the_margin(self):
        signs = ops.convert_to_tensor([[1.0], [-1.0], [1.0]])
        scores = ops.convert_to_tensor([[2.0], [-2.5], [-1.0]])
        values = hinge.binary_hinge(signs, scores, margin=2.0)
        self.assertAllClose(values, [0.0, 0.0, 3.0])

    def test_multiclass_hinge_leaves_out_the_class_itself(self):
        # Far beyond the margin: the class itself would add the margin.
        values = hinge.multiclass_hinge(
            ops.convert_to_tensor([[0.0, 1.0]]),
            ops.convert_to_tensor([[0.0, 9.0]]),
            margin=2.0,
        )
        self.assertAllClose(values, [0.0])
