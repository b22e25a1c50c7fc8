import numpy as np
from absl.testing import parameterized

from keras_lip.explanations import information_projection
from tests.lipschitz_test_case import LipschitzTestCase
from tests.marks import on_pytorch_alone

pytestmark = on_pytorch_alone


def softmax(logits):
    powers = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def divergence(p, q):
    return np.sum(np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / q), 0.0))


class InformationProjectionTest(LipschitzTestCase):
    @parameterized.product(share=[0.03, 0.5, 0.99], scale=[0.1, 3.0, 40.0])
    def test_the_probability_of_a_set_keeps_proportions(self, share, scale):
        logits = scale * self.rng.normal(size=(6, 5))
        chosen = np.array([True, False, True, False, False])
        found = information_projection(logits, [chosen - share])
        for i, p in enumerate(softmax(logits)):
            wanted = np.where(
                chosen,
                share * p / p[chosen].sum(),
                (1 - share) * p / p[~chosen].sum(),
            )
            self.assertAllClose(found.probabilities[i], wanted, 1e-9, 1e-9)
            self.assertAllClose(
                found.divergence[i], divergence(wanted, p), 1e-8, 1e-8
            )

    def test_it_is_the_closest_distribution(self):
        logits = self.rng.normal(size=(1, 6))
        # Zero is the mean of these values under some distribution.
        inside = softmax(self.rng.normal(size=6))
        values = self.rng.normal(size=(2, 6))
        values -= values @ inside[:, None]
        found = information_projection(logits, values)
        (best,) = found.probabilities
        self.assertAllClose(values @ best, np.zeros(2), 1e-9)
        # Moves along the constraints only increase the divergence.
        allowed = np.concatenate([values, np.ones((1, 6))])
        _, _, rows = np.linalg.svd(allowed)
        q = softmax(logits[0])
        least = divergence(best, q)
        for _ in range(50):
            move = self.rng.normal(size=3) @ rows[3:]
            move *= 0.9 * best.min() / np.abs(move).max()
            self.assertGreater(divergence(best + move, q), least)

    def test_the_distribution_is_of_the_exponential_family(self):
        logits = self.rng.normal(size=(4, 5))
        values = 100 * np.array([[-2.0, -1, 0, 1, 2], [0.5, -1, 0.5, -1, 0.5]])
        found = information_projection(logits, values)
        self.assertAllClose(
            found.probabilities, softmax(logits + found.parameters @ values)
        )
        self.assertLess(found.residual.max(), 1e-9)

    def test_constraints_that_hold_change_nothing(self):
        logits = np.log([[0.2, 0.3, 0.5]])
        found = information_projection(logits, [[1.0, 1.0, -1.0], [0, 0, 0]])
        self.assertAllClose(found.probabilities, [[0.2, 0.3, 0.5]], 1e-12)
        self.assertAllClose(found.divergence, [0.0], 1e-12)

    def test_dependent_constraints_are_one(self):
        logits = self.rng.normal(size=(3, 4))
        row = np.array([1.0, -0.5, 0.2, -1.0])
        once = information_projection(logits, row[None])
        twice = information_projection(logits, np.stack([row, -3 * row]))
        self.assertAllClose(once.probabilities, twice.probabilities, 1e-9)

    def test_all_moments_decide(self):
        wanted = softmax(self.rng.normal(size=4))
        constraints = np.eye(4) - wanted[:, None]
        found = information_projection(
            self.rng.normal(size=(2, 4), scale=500.0), constraints
        )
        self.assertAllClose(found.probabilities, np.tile(wanted, (2, 1)), 1e-8)

    def test_constraints_may_force_zeros(self):
        # The first class has a probability of zero, in the limit.
        found = information_projection(np.zeros((1, 3)), [[1.0, 0.0, 0.0]])
        self.assertAllClose(found.probabilities, [[0.0, 0.5, 0.5]], 1e-9)
        self.assertAllClose(found.divergence, [np.log(1.5)], 1e-8)

    @parameterized.parameters(0.0, 30.0)
    def test_contradictions_are_refused(self, scale):
        logits = scale * self.rng.normal(size=(1, 3))
        for constraints in (
            [[1.0, 2.0, 0.5]],
            # The mean of the class is 0.5, and the last class is certain.
            [[-0.5, 0.5, 1.5], [1.0, 1.0, 0.0]],
        ):
            with self.assertRaisesRegex(ValueError, "No distribution satisf"):
                information_projection(logits, constraints)

    def test_bad_input_is_refused(self):
        logits = np.zeros((2, 3))
        for bad in (np.zeros(3), np.zeros((1, 0)), np.full((1, 3), np.nan)):
            with self.assertRaisesRegex(ValueError, "`constraints` must be a"):
                information_projection(logits, bad)
            with self.assertRaisesRegex(ValueError, "`logits` must be a matr"):
                information_projection(bad, np.ones((1, 3)))
        with self.assertRaisesRegex(ValueError, "a value for every class"):
            information_projection(logits, np.ones((1, 4)))
        with self.assertRaisesRegex(ValueError, "`max_steps` must be"):
            information_projection(logits, np.ones((1, 3)), max_steps=0)
        with self.assertRaisesRegex(ValueError, "Pass more `max_steps`"):
            information_projection(
                [[5.0, 0.0, 1.0]], [[1.0, -1.0, 0.3]], max_steps=1
            )
