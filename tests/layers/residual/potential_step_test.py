import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.layers.residual.potential_step import longest_step
from keras_lip.layers.residual.potential_step import running_kernel
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class PotentialStepTest(LipschitzTestCase):
    def make_layer(self, kernel, bias=0.0):
        layer = layers.ConvexPotentialDense(kernel.shape[1])
        layer.build((None, kernel.shape[0]))
        layer.kernel.assign(kernel)
        layer.bias.assign(np.full(kernel.shape[1], bias))
        return layer

    @parameterized.parameters(
        (0.0, 200.0), (1e-30, 200.0), (0.05, 200.0), (0.2, 50.0), (4.0, 0.125)
    )
    def test_step_follows_norms_from_a_tenth_on(self, norm, step):
        layer = self.make_layer(np.diag([norm, norm / 4]))
        for training in (False, True):
            layer.power_iteration_vector.assign([[1.0, 0.0]])
            self.assertAllClose(layer.compute_step(training), step)
        self.assertAllClose(longest_step(norm), step)
        self.assertLessEqual(longest_step(norm), step)
        self.assertAlmostEqual(layer.lipschitz_bound(), 1.0, delta=1e-6)

    def test_first_training_step_from_zero_moves_the_outputs_little(self):
        # As one step of Adam leaves a kernel of zero: it moves every entry by
        # its learning rate.
        kernel = np.full((5, 6), 1e-3)
        layer = self.make_layer(kernel, bias=1.0)
        x = self.normal(3, 5)
        exact = x - 200 * np.maximum(x @ kernel + 1, 0) @ kernel.T
        self.assertAllClose(layer(x), exact, 1e-5)
        self.assertLess(np.abs(exact - x).max(), 1.3)

    def test_steps_fit_in_float16(self):
        layer = layers.ConvexPotentialDense(
            6, kernel_initializer="zeros", dtype="mixed_float16"
        )
        x = self.normal(3, 5)
        self.assertAllClose(layer(x), x.astype("float16"), 0, 0)

    @parameterized.parameters(1e-30, 1.0, 1e6)
    def test_kernels_run_as_they_are(self, scale):
        kernel = np.float32(scale) * np.array([[1.0, -0.3]], "float32")
        self.assertAllClose(running_kernel(kernel), kernel, 0, 0)

    @parameterized.parameters(1e9, 1e18, 3e38)
    def test_kernels_run_with_entries_of_at_most_a_million(self, scale):
        kernel = np.float32(scale) * np.array([[1.0, -0.5]], "float32")
        self.assertAllClose(running_kernel(kernel), [[1e6, -5e5]], 0)
        # `x - 2 s(x W + b) W^T / |W|^2`, of a bias that counts for nothing.
        layer = self.make_layer(kernel.T, bias=1.0)
        x = self.normal(4, 2)
        direction = np.array([[2.0], [-1.0]]) / 5**0.5
        exact = x - 2 * np.maximum(x @ direction, 0) @ direction.T
        self.assertAllClose(layer(x), exact, 1e-5)
        self.assertAlmostEqual(layer.lipschitz_bound(), 1.0, delta=1e-6)

    def test_kernels_of_zero_are_trained(self):
        block = layers.ConvexPotentialDense(
            6, kernel_initializer="zeros", bias_initializer="ones"
        )
        model = keras.Sequential([keras.Input((5,)), block])
        model.compile(keras.optimizers.SGD(1e-3), "mse")
        x = self.normal(8, 5)
        model.train_on_batch(x, x + 1)
        # The gradient is `-200 * 1 (2 / (8 * 5)) sum (x - y)`, with `x - y` of
        # minus one: all entries move by `-1e-3 * 200 * 2 / 5`.
        self.assertAllClose(block.kernel, np.full((5, 6), -0.08), 1e-6)
        self.assertTrue(np.isfinite(to_numpy(model(x))).all())
