import keras_tuner
from absl.testing import parameterized
from keras_tuner.oracles import RandomSearchOracle

from keras_lip.metrics.registry import BY_NAME
from tests.lipschitz_test_case import LipschitzTestCase


class TunerObjectivesTest(LipschitzTestCase):
    @parameterized.parameters(*BY_NAME)
    def test_more_is_better_for_every_metric(self, name):
        oracle = RandomSearchOracle(f"val_{name}")
        self.assertEqual(oracle.objective.direction, "max")

    def test_other_names_are_what_they_were(self):
        oracle = RandomSearchOracle("val_loss")
        self.assertEqual(oracle.objective.direction, "min")
        with self.assertRaisesRegex(ValueError, "Could not infer"):
            RandomSearchOracle("val_nothing")

    def test_a_direction_may_be_given(self):
        given = keras_tuner.Objective("val_certified_accuracy", "max")
        self.assertIs(RandomSearchOracle(given).objective, given)
