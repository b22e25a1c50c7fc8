import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.certificates import fisher_rao_distance
from keras_lip.explanations import fisher_information
from keras_lip.live_model import LiveModel
from tests.lipschitz_test_case import LipschitzTestCase


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


class FisherInformationTest(LipschitzTestCase):
    def make_linear(self, kernel):
        model = keras.Sequential(
            [keras.Input((len(kernel),)), keras.layers.Dense(kernel.shape[1])]
        )
        model.set_weights([kernel, self.normal(kernel.shape[1])])
        return model

    @parameterized.product(size=[2, 3, 5], temperature=[1.0, 2.5])
    def test_the_spectrum_is_of_the_pulled_back_matrix(self, size, temperature):
        kernel = self.normal(size, 3)
        model, x = self.make_linear(kernel), self.normal(4, size)
        found = fisher_information(model, x, temperature)
        for i in range(4):
            (p,) = softmax(temperature * LiveModel(model)(x[i : i + 1]))
            self.assertAllClose(found.probabilities[i], p)
            jacobian = temperature * kernel.T
            matrix = jacobian.T @ (np.diag(p) - np.outer(p, p)) @ jacobian
            values = np.linalg.eigvalsh(matrix)[::-1]
            number = min(size, 3)
            self.assertAllClose(
                found.eigenvalues[i], values[:number], atol=1e-5
            )
            self.assertEqual(found.rank[i], min(size, 2))
            vector = found.directions[i, 0]
            self.assertAllClose(matrix @ vector, values[0] * vector, atol=1e-4)

    def test_small_steps_have_its_length(self):
        model = keras.Sequential(
            [
                keras.Input((2, 2, 1)),
                keras.layers.Flatten(),
                layers.OrthogonalDense(4, activation="tanh"),
                layers.UnitNormDense(4),
            ]
        )
        x = self.normal(3, 2, 2, 1)
        found = fisher_information(model, x, temperature=3.0)
        self.assertEqual(found.directions.shape, (3, 4, 2, 2, 1))
        step = 0.05
        for k in range(3):
            pair = [
                softmax(
                    3.0 * LiveModel(model)(x + sign * found.directions[:, k])
                )
                for sign in (-step, step)
            ]
            lengths = 2 * step * np.sqrt(found.eigenvalues[:, k])
            self.assertAllClose(
                fisher_rao_distance(*pair), lengths, atol=3e-3 * 2 * step
            )

    def test_rank_and_size_are_limited(self):
        model = keras.Sequential(
            [
                keras.Input((6,)),
                layers.OrthogonalDense(6),
                layers.MaxMin(),
                layers.OrthogonalDense(4),
            ]
        )
        found = fisher_information(model, self.normal(20, 6), temperature=2.0)
        self.assertTrue(np.all(found.rank == 3))
        self.assertLess(found.eigenvalues.max(), 2.0**2 / 2)
        self.assertLess(found.eigenvalues[:, 3].max(), 1e-9)

    def test_models_without_logits_are_refused(self):
        for model in (
            self.make_linear(self.normal(3, 1)),
            keras.Sequential([keras.Input((3, 2)), layers.MaxMin()]),
        ):
            shape = (2, *model.input_shape[1:])
            with self.assertRaisesRegex(ValueError, "at least two classes"):
                fisher_information(model, np.ones(shape))
        with self.assertRaisesRegex(ValueError, "`temperature` must be"):
            fisher_information(
                self.make_linear(self.normal(3, 2)), np.ones((1, 3)), 0.0
            )
