import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import regularizers
from tests.lipschitz_test_case import LipschitzTestCase


class ParsevalTest(LipschitzTestCase):
    @parameterized.parameters(
        (5, 3), (3, 5), (4, 4), (2, 3, 3, 4), (3, 1, 1, 8)
    )
    def test_values_follow_from_the_singular_values(self, *shape):
        kernel = self.normal(*shape)
        values = self.singular_values(kernel.reshape(-1, shape[-1]))
        expected = 0.3 / 2 * np.sum((values**2 - 1) ** 2)
        self.assertAllClose(
            regularizers.Parseval(0.3)(kernel), expected, rtol=1e-5
        )

    def test_hand_computed_value(self):
        # W^T W - I = [[0, 1], [1, 1]].
        kernel = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]], "float32")
        for matrix in (kernel, kernel.T):
            self.assertAllClose(regularizers.Parseval(2.0)(matrix), 3.0)

    def test_orthogonal_kernels_of_any_proportions_have_no_penalty(self):
        for shape in ((6, 3), (3, 6), (3, 3, 2, 7)):
            kernel = keras.initializers.Orthogonal(seed=0)(shape)
            self.assertAllClose(regularizers.Parseval(1.0)(kernel), 0.0)

    @parameterized.parameters((6, 4), (4, 6))
    def test_training_draws_singular_values_to_one(self, rows, columns):
        layer = keras.layers.Dense(
            columns, kernel_regularizer=regularizers.Parseval(1.0)
        )
        model = keras.Sequential([keras.Input((rows,)), layer])
        model.compile(keras.optimizers.SGD(0.1), loss="mse")
        layer.kernel.assign(self.normal(rows, columns, scale=0.5))
        start = self.singular_values(layer.kernel)
        self.assertGreater(np.abs(start - 1).max(), 0.3)
        # Inputs and labels of zero: the loss is that of the regularizer.
        zeros = np.zeros((200, rows)), np.zeros((200, columns))
        model.fit(*zeros, batch_size=1, verbose=0)
        # Float32 kernels settle within some units in the last place.
        self.assertAllClose(
            self.singular_values(layer.kernel), np.ones(4), atol=1e-4
        )

    def test_weights_of_a_convolution_are_regularized(self):
        layer = keras.layers.Conv2D(
            4, 3, kernel_regularizer=regularizers.Parseval(0.5)
        )
        layer.build((None, 8, 8, 2))
        kernel = ops.convert_to_numpy(layer.kernel).reshape(18, 4)
        gram = kernel.T.astype("float64") @ kernel - np.eye(4)
        self.assertAllClose(layer.losses[0], 0.25 * np.sum(gram**2), rtol=1e-5)

    def test_config_round_trip(self):
        self.run_serialization_test(regularizers.Parseval(0.25))
        layer = keras.layers.Dense(
            3, kernel_regularizer=regularizers.Parseval(0.25)
        )
        copy = keras.layers.Dense.from_config(layer.get_config())
        self.assertEqual(copy.kernel_regularizer.factor, 0.25)

    def test_lists_and_integers_are_matrices(self):
        # 2^2 - 1 twice, squared, halved.
        value = regularizers.Parseval(1.0)([[2, 0], [0, 2]])
        self.assertAllClose(value, 9.0)

    def test_bad_arguments_are_refused(self):
        for factor in (-1.0, float("inf"), "1"):
            with self.assertRaisesRegex(ValueError, "`factor` must be"):
                regularizers.Parseval(factor)
        with self.assertRaisesRegex(ValueError, "at least two axes"):
            regularizers.Parseval(1.0)(np.zeros(3))
