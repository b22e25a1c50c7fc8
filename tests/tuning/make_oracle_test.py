import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tuning.make_oracle import make_oracle

pytestmark = pytest.mark.slow


class MakeOracleTest(LipschitzTestCase):
    def test_an_unknown_tuner_lists_the_known_ones(self):
        with self.assertRaisesRegex(ValueError, "bayesian.*grid.*hyperband"):
            make_oracle("anneal", 3, 3, 0)

    def test_no_trials_are_refused(self):
        with self.assertRaisesRegex(ValueError, "trials.*positive integer"):
            make_oracle("random", 0, 3, 0)
