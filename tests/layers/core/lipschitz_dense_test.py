import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip import parametrizations
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class LipschitzDenseTest(LipschitzTestCase):
    @parameterized.parameters(
        ("spectral", 3),
        ("spectral", 8),
        ("aol", 3),
        ("aol", 8),
        ("frobenius", 4),
        ("qr", 4),
    )
    def test_contract(self, parametrization, units):
        self.run_lipschitz_layer_test(
            layers.LipschitzDense,
            init_kwargs={"units": units, "parametrization": parametrization},
            input_shape=(5,),
            expected_output_shape=(units,),
            expected_bound=1.0
            if parametrization in ("spectral", "qr")
            else None,
        )

    @parameterized.parameters("aol", "frobenius")
    def test_norm_is_at_most_one(self, parametrization):
        layer = layers.LipschitzDense(
            4,
            parametrization=parametrization,
            kernel_initializer="random_normal",
        )
        layer.build((None, 6))
        layer.free_kernel.assign(self.normal(6, 4, scale=20.0))
        self.assertLessEqual(layer.lipschitz_bound(), 1 + 1e-6)

    def test_spectral_bound_is_that_of_the_kernel_that_runs(self):
        # Two leading singular values that 100 iterations cannot tell apart
        # leave the estimate below the norm, and the kernel above one.
        left, _, right = np.linalg.svd(self.normal(8, 8))
        values = np.array([1.0, 0.999, *np.full(6, 0.9)])
        free_kernel = ((left * values) @ right).astype("float32")
        layer = layers.LipschitzDense(8, use_bias=False)
        layer.build((None, 8))
        layer.free_kernel.assign(free_kernel)
        # Nearly orthogonal to the leading vector, where the iteration starts.
        start = left[:, 1] + 1e-3 * left[:, 0]
        layer.state["power_iteration_vector"].assign(start[None])
        exact = self.singular_values(layer.kernel).max()
        self.assertGreater(exact, 1.0005)
        self.assertGreaterEqual(layer.lipschitz_bound(), exact * (1 - 1e-12))
        self.assertAllClose(layer.lipschitz_bound(), exact)

        stock = layer.to_keras_layer(proven=True)
        norm = self.singular_values(stock.get_weights()[0]).max()
        self.assertLessEqual(norm, 1)
        self.assertGreater(norm, 1 - 1e-6)
        running = layer.to_keras_layer(proven=False)
        self.assertAllClose(running.get_weights()[0], layer.kernel)

    def test_training_steps_move_the_power_iteration_on(self):
        spectral = parametrizations.Spectral(1, inference_iterations=1)
        layer = layers.LipschitzDense(6, spectral)
        model = keras.Sequential([keras.Input((9,)), layer])
        model.compile(keras.optimizers.SGD(0.0), "mse")
        layer.free_kernel.assign(self.normal(9, 6))
        before = layer.lipschitz_bound()
        x, y = self.normal(64, 9), self.normal(64, 6)
        model.predict(x, verbose=0)
        self.assertEqual(layer.lipschitz_bound(), before)
        model.fit(x, y, batch_size=2, epochs=3, verbose=0)
        self.assertGreater(before, 1.01)
        self.assertLess(layer.lipschitz_bound(), 1.001)

    def test_training_and_inference_agree(self):
        layer = layers.LipschitzDense(
            3, parametrization=parametrizations.Spectral(100)
        )
        x = self.normal(4, 5)
        self.assertAllClose(layer(x, training=True), layer(x), 1e-5)
        self.assertAllClose(
            layer(x, training=True), x @ to_numpy(layer.kernel), 1e-5
        )

    def test_invalid_arguments_are_refused(self):
        with self.assertRaisesRegex(ValueError, "Received: units=0"):
            layers.LipschitzDense(0)
        with self.assertRaisesRegex(ValueError, "'aol', 'bjorck'.*'spectral'"):
            layers.LipschitzDense(3, parametrization="spectrum")
