import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import callbacks
from keras_lip import layers
from keras_lip.linalg import rescale_columns
from keras_lip.parametrizations import Bjorck
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def step_by_hand(kernel, beta):
    matrix = kernel.reshape(-1, kernel.shape[-1]).astype("float64")
    moved = (1 + beta) * matrix - beta * matrix @ matrix.T @ matrix
    return moved.reshape(kernel.shape)


class ParsevalStepTest(LipschitzTestCase):
    def train(self, model, beta, epochs=1, rate=0.0):
        """Trains for one step an epoch."""
        model.compile(keras.optimizers.SGD(rate), "mse")
        x = self.normal(4, *model.input_shape[1:])
        y = self.normal(4, *model.output_shape[1:])
        callback = callbacks.ParsevalStep(beta)
        model.fit(x, y, 4, epochs, callbacks=[callback], verbose=0)
        return x, y

    def make_dense(self, kernel):
        layer = keras.layers.Dense(kernel.shape[1])
        model = keras.Sequential([keras.Input(kernel.shape[:1]), layer])
        layer.kernel.assign(kernel)
        return model, layer

    @parameterized.parameters(((3, 5),), ((5, 3),), ((4, 4),))
    def test_step_of_a_matrix_is_that_of_the_formula(self, shape):
        kernel = self.normal(*shape)
        model, layer = self.make_dense(kernel)
        self.train(model, beta=0.1)
        self.assertAllClose(layer.kernel, step_by_hand(kernel, 0.1), 1e-5)

    @parameterized.parameters(
        (keras.layers.Conv1D, (8, 2)),
        (keras.layers.Conv2D, (6, 6, 2)),
        (keras.layers.Conv3D, (4, 4, 4, 2)),
    )
    def test_kernels_of_convolutions_have_a_column_for_each_filter(
        self, layer_cls, shape
    ):
        layer = layer_cls(3, 2)
        model = keras.Sequential([keras.Input(shape), layer])
        kernel = to_numpy(layer.kernel).copy()
        bias = to_numpy(layer.bias).copy()
        self.train(model, beta=0.2)
        self.assertAllClose(layer.kernel, step_by_hand(kernel, 0.2), 1e-5)
        self.assertAllClose(layer.bias, bias, 0, 0)

    def test_half_a_beta_is_an_iteration_of_bjorck(self):
        # `Bjorck` rescales the matrix before it iterates.
        kernel = ops.convert_to_tensor(self.normal(4, 4))
        model, layer = self.make_dense(to_numpy(rescale_columns(kernel)))
        self.train(model, beta=0.5)
        bjorck, _ = Bjorck(iterations=1).constrain(kernel, (), False)
        self.assertAllClose(layer.kernel, bjorck, 1e-6)

    @parameterized.parameters(0.01, 0.5)
    def test_singular_values_are_mapped_one_by_one(self, beta):
        values = np.array([0.0, 0.3, 1.0, 1.5])
        limit = np.sqrt((2 + beta) / beta)
        # At the limit a value only changes its sign, beyond it diverges.
        values = np.append(values, [limit, 1.1 * limit])
        model, layer = self.make_dense(np.diag(values))
        self.train(model, beta)
        moved = np.diag(to_numpy(layer.kernel))
        self.assertAllClose(moved, (1 + beta) * values - beta * values**3, 1e-4)
        self.assertBetween(moved[1], 0.3 + 1e-3, 1.0)
        self.assertAllClose(moved[2], 1.0)
        self.assertLess(abs(moved[3]), 1.5)
        self.assertAllClose(moved[4], -limit, 1e-4)
        self.assertLess(moved[5], -1.1 * limit)

    def test_kernels_become_orthogonal_and_keep_what_they_learn(self):
        kernel = self.normal(5, 4)
        model, layer = self.make_dense(kernel)
        self.train(model, beta=0.1, epochs=100)
        self.assertAllClose(self.singular_values(layer.kernel), 1.0, 1e-5)
        # An update of the optimizer, and then the step.
        kernel = to_numpy(layer.kernel).astype("float64")
        bias = to_numpy(layer.bias).copy()
        x, y = self.train(model, beta=0.1, rate=1.0)
        error = x @ kernel + bias - y
        updated = kernel - 2 / error.size * x.T @ error
        self.assertGreater(np.abs(updated - kernel).max(), 0.1)
        self.assertAllClose(layer.kernel, step_by_hand(updated, 0.1), 1e-5)

    def test_frozen_layers_and_layers_of_this_library_are_left_alone(self):
        frozen, free = keras.layers.Dense(4), keras.layers.Dense(4)
        ours = layers.LipschitzDense(4)
        inner = keras.Sequential([keras.Input((4,)), free])
        model = keras.Sequential([keras.Input((4,)), frozen, ours, inner])
        frozen.trainable = False
        before = [
            to_numpy(weight).copy()
            for weight in (frozen.kernel, ours.free_kernel, free.kernel)
        ]
        self.train(model, beta=0.3)
        self.assertAllClose(frozen.kernel, before[0], 0, 0)
        self.assertAllClose(ours.free_kernel, before[1], 0, 0)
        self.assertAllClose(free.kernel, step_by_hand(before[2], 0.3), 1e-5)

    def test_models_without_such_a_layer_are_refused(self):
        model = keras.Sequential([keras.Input((2,)), layers.OrthogonalDense(1)])
        with self.assertRaisesRegex(ValueError, "no layer that.*`Dense`"):
            self.train(model, beta=0.1)

    def test_invalid_arguments_are_refused(self):
        for beta in (0.0, -0.1, 0.6, float("nan"), "small"):
            with self.assertRaisesRegex(ValueError, "`beta` must be"):
                callbacks.ParsevalStep(beta)
