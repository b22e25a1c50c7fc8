import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import parametrizations
from keras_lip.autodiff import gradient
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class SpectralTest(LipschitzTestCase):
    @parameterized.product(
        shape=((5, 5), (7, 4), (4, 7)), scale=(1e-20, 0.02, 20.0, 1e20)
    )
    def test_matrix_is_divided_by_its_norm(self, shape, scale):
        matrix = self.normal(*shape, scale=scale)
        image, _ = parametrizations.Spectral()(matrix)
        # A hundred iterations settle these matrices to float32.
        self.assertAllClose(self.singular_values(image).max(), 1.0, 1e-5)
        scaled = matrix.astype("float64")
        exact = scaled / np.linalg.norm(scaled, 2)
        self.assertAllClose(image, exact, 1e-5, 1e-4)

    def test_one_iteration_is_an_estimate_from_below(self):
        matrix = self.normal(20, 20)
        image, _ = parametrizations.Spectral()(matrix, training=True)
        self.assertGreater(self.singular_values(image).max(), 1.05)

    def test_state_converges_step_by_step(self):
        spectral = parametrizations.Spectral()
        matrix = self.normal(9, 5)
        state = spectral.initial_state((9, 5))
        for _ in range(60):
            image, state = spectral(matrix, state, training=True)
        self.assertAllClose(self.singular_values(image).max(), 1.0, 1e-5)
        left, _, _ = np.linalg.svd(matrix)
        vector = to_numpy(state["power_iteration_vector"])[0]
        self.assertAllClose(abs(vector @ left[:, 0]), 1.0, 1e-5)

    def test_gradient_is_that_of_the_quotient(self):
        weight = self.normal(6, 4)
        matrix = self.normal(6, 4)

        def loss(matrix):
            image, _ = parametrizations.Spectral()(matrix)
            return ops.sum(ops.multiply(image, weight))

        actual = gradient(loss, ops.convert_to_tensor(matrix))
        # d<W/s, G> = G/s - <W, G> u v^T / s^2.
        left, values, right = np.linalg.svd(matrix.astype("float64"))
        norm = values[0]
        inner = np.sum(matrix * weight) / norm**2
        exact = weight / norm - inner * np.outer(left[:, 0], right[0])
        self.assertAllClose(actual, exact, 1e-5, 1e-4)

    def test_zero_has_a_finite_image_and_gradient(self):
        def loss(matrix):
            image, _ = parametrizations.Spectral()(matrix)
            return ops.sum(image)

        zero = ops.zeros((4, 3))
        image, _ = parametrizations.Spectral()(zero)
        self.assertAllClose(image, np.zeros((4, 3)))
        self.assertTrue(np.isfinite(to_numpy(gradient(loss, zero))).all())

    def test_config_round_trip(self):
        spectral = parametrizations.Spectral(3, inference_iterations=7)
        config = parametrizations.serialize(spectral)
        restored = parametrizations.get(config)
        self.assertEqual(restored.training_iterations, 3)
        self.assertEqual(restored.inference_iterations, 7)

    def test_invalid_arguments_are_refused(self):
        with self.assertRaisesRegex(ValueError, "`training_iterations` must"):
            parametrizations.Spectral(0)
        with self.assertRaisesRegex(ValueError, "`inference_iterations` must"):
            parametrizations.Spectral(1, inference_iterations=2.5)
        with self.assertRaisesRegex(ValueError, "one matrix of shape"):
            parametrizations.Spectral()(self.normal(2, 3, 3))
