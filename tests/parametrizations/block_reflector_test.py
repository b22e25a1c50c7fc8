import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip import models
from keras_lip import parametrizations
from keras_lip.autodiff import gradient
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def reflector(v):
    """The reflector of the columns of a matrix, in float64."""
    v = v.astype("float64")
    return np.eye(len(v)) - 2 * v @ np.linalg.solve(v.T @ v, v.T)


class BlockReflectorTest(LipschitzTestCase):
    @parameterized.parameters(
        (6, 0.5, 3), (6, 1.0, 5), (6, 0.01, 1), (5, 0.5, 2), (1, 0.5, 1)
    )
    def test_a_share_of_the_columns_of_a_square_counts(self, size, ratio, rank):
        parametrization = parametrizations.BlockReflector(ratio)
        matrix = self.normal(size, size)
        image, _ = parametrization(matrix)
        self.assertAllClose(image, reflector(matrix[:, :rank]), 2e-5)
        self.assertEqual(parametrization.free_shape((size, size))[-1], rank)
        values = np.linalg.eigvalsh(to_numpy(image).astype("float64"))
        self.assertEqual(np.sum(values < 0), rank)

    @parameterized.parameters((6, 4), (6, 1), (3, 5))
    def test_all_columns_of_another_matrix_count(self, rows, columns):
        matrix = self.normal(rows, columns)
        image, _ = parametrizations.BlockReflector(0.1)(matrix)
        tall = matrix if rows > columns else matrix.T
        expected = reflector(tall)[:, : min(rows, columns)]
        expected = expected if rows > columns else expected.T
        self.assertAllClose(image, expected, 2e-5)

    def test_image_of_zero_is_the_identity(self):
        for shape in ((4, 4), (5, 3), (3, 5)):
            image, _ = parametrizations.BlockReflector()(np.zeros(shape))
            self.assertAllClose(image, np.eye(*shape))

    @parameterized.parameters((6, 6), (7, 4), (4, 7))
    def test_gradient_is_that_of_the_reflector(self, *shape):
        matrix, weight = self.normal(*shape), self.normal(*shape)
        tall = shape[0] >= shape[1]

        def exact(matrix):
            v = matrix if tall else matrix.T
            v = v[:, :3] if shape == (6, 6) else v
            image = reflector(v)[:, : min(shape)]
            return np.sum((image if tall else image.T) * weight)

        def loss(matrix):
            image, _ = parametrizations.BlockReflector()(matrix)
            return ops.sum(ops.multiply(image, weight))

        slope = to_numpy(gradient(loss, ops.convert_to_tensor(matrix)))
        for _ in range(3):
            step = self.normal(*shape, scale=1e-4).astype("float64")
            change = (exact(matrix + step) - exact(matrix - step)) / 2
            self.assertAllClose(np.sum(slope * step), change, 1e-6, 1e-2)

    @parameterized.parameters(0, -0.5, 1.5, "1")
    def test_ratio_must_be_a_share(self, ratio):
        with self.assertRaisesRegex((TypeError, ValueError), "`rank_ratio`"):
            parametrizations.BlockReflector(ratio)

    def test_reflections_are_reached(self):
        found = parametrizations.BlockReflector()
        for size, rank in ((4, 2), (4, 1), (5, 2)):
            matrix = reflector(self.normal(size, rank))
            free = found.from_matrix(matrix)
            self.assertEqual(free.shape, (size, size // 2))
            layer = layers.OrthogonalDense(
                size, parametrization=found, kernel_initializer=free
            )
            layer.build((None, size))
            self.assertAllClose(layer.kernel, matrix, 3e-6)
        for shape in ((6, 4), (4, 6)):
            tall = reflector(self.normal(6, 4))[:, :4]
            matrix = tall if shape == (6, 4) else tall.T
            free = found.from_matrix(matrix)
            self.assertEqual(free.shape, shape)
            self.assertAllClose(found(free)[0], matrix, 3e-6)
        self.assertAllClose(found.from_matrix(np.eye(4)), np.zeros((4, 2)))

    @parameterized.parameters(
        (-np.eye(4),),
        (np.eye(4)[[1, 2, 3, 0]],),
        (np.eye(5, 2)[[1, 2, 0, 3, 4]],),
    )
    def test_what_is_no_reflection_is_refused(self, matrix):
        with self.assertRaisesRegex(ValueError, "from_matrix` takes matrices"):
            parametrizations.BlockReflector().from_matrix(matrix)

    def test_trained_kernels_do_not_start_one(self):
        stock = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
        with self.assertRaisesRegex(ValueError, "cannot start a block refl"):
            models.from_keras(stock, parametrization="block_reflector")


class ResidualOrthogonalDenseTest(LipschitzTestCase):
    @parameterized.product(
        parametrization=("cholesky", "cayley", "block_reflector"),
        units=(3, 5, 7),
    )
    def test_contract(self, parametrization, units):
        self.run_lipschitz_layer_test(
            layers.OrthogonalDense,
            init_kwargs={
                "units": units,
                "parametrization": parametrization,
                "residual_scale": 0.5,
                "kernel_initializer": "glorot_uniform",
            },
            input_shape=(5,),
            expected_output_shape=(units,),
            expected_bound=1.0,
        )

    @parameterized.parameters(3, 5, 7)
    def test_kernel_is_that_of_the_identity_and_a_multiple(self, units):
        layer = layers.OrthogonalDense(
            units, parametrization="cholesky", residual_scale=-0.5
        )
        layer.build((None, 5))
        for weight in layer.trainable_weights:
            weight.assign(self.normal(*weight.shape))
        free, gamma = to_numpy(layer.free_kernel), to_numpy(layer.gamma)
        matrix = (np.eye(5, units) - 0.5 * free * gamma).astype("float32")
        expected, _ = parametrizations.Cholesky()(matrix)
        self.assertAllClose(layer.kernel, expected, 1e-5)

    def test_reflectors_have_factors_of_rows(self):
        layer = layers.OrthogonalDense(
            6, parametrization="block_reflector", residual_scale=0.5
        )
        layer.build((None, 6))
        for weight in layer.trainable_weights:
            weight.assign(self.normal(*weight.shape))
        free, gamma = to_numpy(layer.free_kernel), to_numpy(layer.gamma)
        self.assertEqual(free.shape, (6, 3))
        expected = reflector(np.eye(6, 3) + 0.5 * free * gamma[:, None])
        self.assertAllClose(layer.kernel, expected, 2e-5)
        x = self.normal(2, 6)
        self.assertAllClose(layer(x, training=True), layer(x), 1e-5, 1e-5)

    def test_zero_weights_give_the_identity(self):
        layer = layers.OrthogonalDense(
            4,
            parametrization="cholesky",
            residual_scale=1.0,
            kernel_initializer="zeros",
        )
        layer.build((None, 4))
        self.assertAllClose(layer.kernel, np.eye(4))

    @parameterized.parameters("1", float("nan"))
    def test_scale_must_be_a_number(self, scale):
        for cls, arguments in (
            (layers.OrthogonalDense, (4,)),
            (layers.BROConv2D, (4, 3)),
        ):
            with self.assertRaisesRegex(
                (TypeError, ValueError), "`residual_scale`"
            ):
                cls(*arguments, residual_scale=scale)
