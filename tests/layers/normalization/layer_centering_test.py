import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class LayerCenteringTest(LipschitzTestCase):
    @parameterized.parameters((-1, (5,)), (1, (3, 2, 2)))
    def test_contract(self, axis, shape):
        self.run_lipschitz_layer_test(
            layers.LayerCentering,
            init_kwargs={"axis": axis},
            input_shape=shape,
            expected_output_shape=shape,
        )

    @parameterized.parameters(-1, 1)
    def test_mean_of_the_channels_is_subtracted(self, axis):
        x = self.normal(2, 3, 4)
        expected = x - x.mean(axis=axis, keepdims=True)
        self.assertAllClose(layers.LayerCentering(axis)(x), expected)

    def test_matrix_is_an_orthogonal_projection(self):
        matrix = to_numpy(layers.LayerCentering()(np.eye(4, dtype="float32")))
        self.assertAllClose(matrix, matrix.T)
        self.assertAllClose(matrix @ matrix, matrix)
        self.assertAllClose(self.singular_values(matrix), [1.0, 1.0, 1.0, 0.0])

    @parameterized.parameters(0, -2, 2)
    def test_axis_that_holds_no_channels_is_refused(self, axis):
        with self.assertRaisesRegex(ValueError, "`axis` of layer"):
            layers.LayerCentering(axis)(self.normal(2, 6))
