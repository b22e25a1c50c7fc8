from absl.testing import parameterized

from keras_lip.applications import FullyConnected3
from tests.applications.application_test_case import ApplicationTestCase


class FullyConnected3Test(ApplicationTestCase):
    def test_parameters_on_cifar(self):
        expected = 3072 * 1024 + 2 * 1024**2 + 3 * 1024 + 1024 * 10 + 10
        self.assertEqual(self.count_parameters(FullyConnected3), expected)

    def test_the_network_is_bounded_by_one(self):
        model = FullyConnected3((8,), 2, units=4)
        kinds = [type(layer).__name__ for layer in model.layers[2:]]
        block = ["OrthogonalDense", "GroupSort"]
        self.assertEqual(kinds, [*block, *block, *block, "OrthogonalDense"])
        self.run_application_test(model, 1 + 1e-4)

    @parameterized.parameters(8, ((),))
    def test_a_shape_that_is_none_is_refused(self, input_shape):
        with self.assertRaisesRegex(
            ValueError, "`input_shape` must be a tuple of positive integers"
        ):
            FullyConnected3(input_shape)

    def test_sizes_must_be_known(self):
        with self.assertRaisesRegex(
            ValueError, "`input_shape` must be a positive integer"
        ):
            FullyConnected3((None, 8))
