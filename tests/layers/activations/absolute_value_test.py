import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase


class AbsoluteValueTest(LipschitzTestCase):
    @parameterized.parameters(((5,),), ((2, 2, 3),))
    def test_contract(self, shape):
        self.run_lipschitz_layer_test(
            layers.AbsoluteValue,
            init_kwargs={},
            input_shape=shape,
            expected_output_shape=shape,
        )

    def test_outputs_are_absolute_values(self):
        x = np.array([[3.0, -1.0, 0.0, -0.5]])
        outputs = layers.AbsoluteValue()(x)
        self.assertAllClose(outputs, [[3.0, 1.0, 0.0, 0.5]], 0, 0)
