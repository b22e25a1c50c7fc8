"""The steps of the proof of the empirical Bernstein inequality.

A sample of `n` numbers that are one with probability `p`, and otherwise zero,
is known up to its order by its sum. So the probability that an inequality fails
is a sum of at most `n + 1` terms, and nothing is drawn.
"""

import importlib
import math

import numpy as np
from absl.testing import parameterized

from tests.lipschitz_test_case import LipschitzTestCase
from tests.marks import on_pytorch_alone

pytestmark = on_pytorch_alone

MODULE = importlib.import_module(
    "keras_lip.certificates.wasserstein_lower_bound"
)


def sums_of_ones(number, p):
    """Returns all sums of a sample, and their probabilities."""
    sums = np.arange(number + 1)
    counts = [
        math.lgamma(number + 1)
        - math.lgamma(k + 1)
        - math.lgamma(number - k + 1)
        for k in sums
    ]
    logs = counts + sums * math.log(p) + (number - sums) * math.log(1 - p)
    return sums, np.exp(logs)


class EmpiricalBernsteinTest(LipschitzTestCase):
    @parameterized.product(
        number=[2, 3, 5, 20, 200],
        p=[0.01, 0.1, 0.25, 0.5, 0.9],
        level=[0.1, 0.5, 1.0, 2.5],
    )
    def test_each_step_fails_as_rarely_as_promised(self, number, p, level):
        sums, chances = sums_of_ones(number, p)
        mean, variance = sums / number, p * (1 - p)
        found = sums * (number - sums) / (number * (number - 1))
        promised = math.exp(-level) * (1 + 1e-9)

        shift = math.sqrt(2 * variance * level / number) + level / (3 * number)
        self.assertLessEqual(chances[p - mean > shift].sum(), promised)

        roots = np.sqrt(found) + math.sqrt(2 * level / (number - 1))
        low = roots < math.sqrt(variance)
        self.assertLessEqual(chances[low].sum(), promised)

        shifts = np.sqrt(2 * found * level / number)
        shifts += 7 * level / (3 * (number - 1))
        self.assertLessEqual(chances[p - mean > shifts].sum(), 2 * promised)

    def test_the_variance_of_the_sample_alone_is_not_enough(self):
        sums, chances = sums_of_ones(20, 0.02)
        found = sums * (20 - sums) / (20 * 19)
        # A sample without a one has no variance, and a mean that is too small.
        missed = 0.02 - sums / 20 > np.sqrt(2 * found * 2.5 / 20)
        self.assertGreater(chances[missed].sum(), 2 * math.exp(-2.5))

    @parameterized.parameters(0.05, 0.5)
    def test_the_bound_of_the_library_fails_as_rarely_as_promised(
        self, confidence
    ):
        p, q, number = 0.6, 0.3, 24
        (sums, first), (_, second) = (
            sums_of_ones(number, each) for each in (p, q)
        )
        nothing = np.zeros(number)
        samples = [
            MODULE._summarize((np.arange(number) < k).astype(float), nothing)
            for k in sums
        ]
        missed = 0.0
        for i, left in enumerate(samples):
            for j, right in enumerate(samples):
                low = MODULE._lower_gap([left, right], 1.0, confidence)
                missed += first[i] * second[j] * (low > p - q)
        # Hoeffding's inequality alone may fail with half of the rest.
        self.assertLessEqual(missed, (1 - confidence) / 2)
        self.assertGreater(missed, (1 - confidence) / 50)
