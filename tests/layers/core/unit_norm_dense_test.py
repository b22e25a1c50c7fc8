import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class UnitNormDenseTest(LipschitzTestCase):
    @parameterized.parameters((1, True), (3, False), (8, True))
    def test_contract(self, units, use_bias):
        self.run_lipschitz_layer_test(
            layers.UnitNormDense,
            init_kwargs={"units": units, "use_bias": use_bias},
            input_shape=(5,),
            expected_output_shape=(units,),
            expected_bound=None,
        )

    @parameterized.parameters(1e-20, 0.02, 1.0, 20.0, 1e20)
    def test_every_unit_has_norm_one(self, scale):
        layer = layers.UnitNormDense(8)
        layer.build((None, 5))
        layer.free_kernel.assign(self.normal(5, 8) * scale)
        norms = np.linalg.norm(to_numpy(layer.kernel), axis=0)
        self.assertAllClose(norms, np.ones(8))

    def test_zero_kernel_stays_finite(self):
        layer = layers.UnitNormDense(3, kernel_initializer="zeros")
        self.assertAllClose(layer(self.normal(2, 5)), np.zeros((2, 3)))
        self.assertEqual(layer.lipschitz_bound(), 0.0)

    def test_bound_is_the_spectral_norm(self):
        layer = layers.UnitNormDense(8)
        layer.build((None, 5))
        layer.free_kernel.assign(np.ones((5, 8)))
        self.assertAllClose(layer.lipschitz_bound(), 8**0.5)
