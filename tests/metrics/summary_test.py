import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.metrics.summary import are_equal
from keras_lip.metrics.summary import summarize
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class SummaryTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.outputs = self.normal(16, 3)
        self.found = self.summarize(self.outputs)

    def summarize(self, outputs):
        return to_numpy(summarize(ops.convert_to_tensor(outputs, "float32")))

    def test_first_number_is_a_sum_of_logarithms(self):
        expected = np.log1p(np.abs(self.outputs)).sum()
        self.assertAllClose(self.found[0], expected, 1e-5)

    @parameterized.named_parameters(
        ("temperature", lambda outputs: 1.01 * outputs),
        ("signs", lambda outputs: -outputs),
        ("classes", lambda outputs: outputs[:, ::-1]),
        ("samples", lambda outputs: outputs[::-1]),
        ("one logit", lambda outputs: outputs + 0.01 * np.eye(16, 3)),
    )
    def test_other_outputs_are_told_apart(self, change):
        other = change(self.outputs).copy()
        self.assertFalse(are_equal(self.found, self.summarize(other)))

    def test_roundings_of_a_given_size_are_allowed(self):
        rng = np.random.default_rng(0)
        for unit in 2.0**-11, 2.0**-8:
            # The largest errors, all in the same direction, and in any.
            for signs in 1.0, rng.choice([-1.0, 1.0], (16, 3)):
                summary = self.summarize(self.outputs * (1 + unit * signs))
                self.assertTrue(are_equal(self.found, summary, unit))
                self.assertFalse(are_equal(self.found, summary))

    def test_values_that_are_not_finite_count_as_zero(self):
        outputs = self.outputs.copy()
        outputs[0] = [np.inf, -np.inf, np.nan]
        zeros = self.outputs.copy()
        zeros[0] = 0.0
        np.testing.assert_array_equal(
            self.summarize(outputs), self.summarize(zeros)
        )
