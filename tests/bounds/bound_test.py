from keras_lip.bounds.bound import Bound
from tests.lipschitz_test_case import LipschitzTestCase


class BoundTest(LipschitzTestCase):
    def test_bound_is_a_float(self):
        bound = Bound(1.5)
        self.assertIsInstance(bound, float)
        self.assertEqual(bound * 2, 3.0)
        self.assertEqual(
            (bound.shape, bound.layer, bound.inputs), (None,) * 2 + ((),)
        )

    def test_bound_remembers_where_it_came_from(self):
        first = Bound(1.0, shape=(None, 3))
        second = Bound(2.0, shape=(None, 4), layer="dense", inputs=(first,))
        self.assertEqual(second.shape, (None, 4))
        self.assertEqual(second.layer, "dense")
        self.assertIs(second.inputs[0], first)
