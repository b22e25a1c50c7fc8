import sys

from keras_lip.deep_recursion import deep_recursion
from tests.lipschitz_test_case import LipschitzTestCase


class DeepRecursionTest(LipschitzTestCase):
    def test_limit_is_raised_and_restored(self):
        before = sys.getrecursionlimit()
        with deep_recursion():
            self.assertGreaterEqual(sys.getrecursionlimit(), 10_000)
            _descend(5_000)
        self.assertEqual(sys.getrecursionlimit(), before)
        with self.assertRaises(ValueError), deep_recursion():
            raise ValueError
        self.assertEqual(sys.getrecursionlimit(), before)

    def test_a_higher_limit_is_left_alone(self):
        before = sys.getrecursionlimit()
        self.addCleanup(sys.setrecursionlimit, before)
        sys.setrecursionlimit(10**6)
        with deep_recursion():
            self.assertEqual(sys.getrecursionlimit(), 10**6)
        self.assertEqual(sys.getrecursionlimit(), 10**6)


def _descend(depth):
    if depth:
        _descend(depth - 1)
