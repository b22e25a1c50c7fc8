import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip import parametrizations
from keras_lip.autodiff import gradient
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

# Enough iterations for any of the matrices below.
ORTHOGONAL = {
    "bjorck": parametrizations.Bjorck(iterations=40),
    "block_reflector": parametrizations.BlockReflector(),
    "cayley": parametrizations.Cayley(),
    "cholesky": parametrizations.Cholesky(),
    "exponential": parametrizations.Exponential(),
    "qr": parametrizations.QR(),
}
SHAPES = ((5, 5), (7, 4), (4, 7), (3, 6, 2))


class ParametrizationsTest(LipschitzTestCase):
    @parameterized.product(
        name=tuple(ORTHOGONAL), shape=SHAPES, scale=(0.02, 1.0, 20.0)
    )
    def test_image_is_orthogonal(self, name, shape, scale):
        matrix = self.normal(*shape, scale=scale)
        image, _ = ORTHOGONAL[name](matrix)
        self.assertEqual(tuple(image.shape), shape)
        values = self.singular_values(image)
        self.assertAllClose(values, np.ones_like(values), 2e-5)

    @parameterized.product(iterations=(1, 2, 5), scale=(0.02, 1.0, 20.0))
    def test_bjorck_is_non_expansive_however_few_its_iterations(
        self, iterations, scale
    ):
        parametrization = parametrizations.Bjorck(iterations)
        for shape in SHAPES:
            image, _ = parametrization(self.normal(*shape, scale=scale))
            self.assertLessEqual(self.singular_values(image).max(), 1 + 1e-6)

    @parameterized.parameters(*ORTHOGONAL)
    def test_degenerate_matrices_stay_non_expansive_and_finite(self, name):
        rank_one = np.outer(self.normal(6), self.normal(4))
        duplicate = np.repeat(self.normal(6, 1), 4, axis=1)
        for matrix in (np.zeros((6, 4)), rank_one, duplicate, np.ones((4, 6))):
            image, _ = ORTHOGONAL[name](matrix.astype("float32"))
            self.assertLessEqual(self.singular_values(image).max(), 1 + 1e-5)

    @parameterized.product(name=tuple(ORTHOGONAL), shape=((5, 5), (4, 7)))
    def test_gradient_is_finite_even_at_zero(self, name, shape):
        weight = self.normal(*shape)

        def loss(matrix):
            image, _ = ORTHOGONAL[name](matrix)
            return ops.sum(ops.multiply(image, weight))

        for matrix in (np.zeros(shape), self.normal(*shape)):
            matrix = ops.convert_to_tensor(matrix, dtype="float32")
            self.assertTrue(np.isfinite(to_numpy(gradient(loss, matrix))).all())

    @parameterized.parameters(
        *(name for name in ORTHOGONAL if name != "block_reflector")
    )
    def test_orthogonal_matrices_are_reached(self, name):
        image, _ = ORTHOGONAL[name](self.normal(5, 5))
        again, _ = parametrizations.Bjorck(5)(image)
        self.assertAllClose(again, image, 1e-5)

    @parameterized.parameters(*ORTHOGONAL)
    def test_ill_conditioned_matrices_become_orthogonal(self, name):
        # Singular values from 1 down to 1e-3.
        for shape in ((6, 6), (9, 6), (6, 9)):
            left, _, right = np.linalg.svd(self.normal(*shape), False)
            values = np.logspace(0, -3, 6)
            matrix = ((left * values) @ right).astype("float32")
            image, _ = ORTHOGONAL[name](matrix)
            self.assertAllClose(self.singular_values(image), np.ones(6), 2e-5)

    @parameterized.product(
        name=tuple(ORTHOGONAL), shape=((6, 6), (9, 6), (6, 9)), batch=(2, 20)
    )
    def test_multiply_is_the_product_with_the_image(self, name, shape, batch):
        # Cayley solves for the outputs of a batch of two.
        parametrization = ORTHOGONAL[name]
        matrix = self.normal(*shape)
        inputs = self.normal(batch, 1, shape[0])
        image, _ = parametrization(matrix)
        outputs, state = parametrization.multiply(inputs, matrix, {})
        self.assertEqual(state, {})
        self.assertAllClose(outputs, ops.matmul(inputs, image), 1e-5)

    @parameterized.parameters((6, 6), (9, 6), (6, 9))
    def test_multiply_has_the_gradient_of_the_product(self, *shape):
        cayley = parametrizations.Cayley()
        inputs, weight = self.normal(2, shape[0]), self.normal(2, shape[1])

        def solved(matrix):
            outputs, _ = cayley.multiply(inputs, matrix, {})
            return ops.sum(ops.multiply(outputs, weight))

        def multiplied(matrix):
            outputs = ops.matmul(inputs, cayley(matrix)[0])
            return ops.sum(ops.multiply(outputs, weight))

        matrix = ops.convert_to_tensor(self.normal(*shape))
        self.assertAllClose(
            gradient(solved, matrix), gradient(multiplied, matrix), 1e-5
        )

    @parameterized.product(
        name=tuple(ORTHOGONAL),
        shape=((6, 6), (5, 5), (9, 6), (6, 9)),
        scale=(1e-30, 1e6, 1e18, 1e30),
    )
    def test_image_is_orthogonal_at_extreme_scales(self, name, shape, scale):
        matrix = self.normal(*shape)
        # Singular values of one: only the scale is extreme.
        left, _, right = np.linalg.svd(matrix, False)
        matrix = ((left @ right) * scale).astype("float32")
        image, _ = ORTHOGONAL[name](matrix)
        self.assertAllClose(
            self.singular_values(image), np.ones(min(shape)), 1e-4
        )

    @parameterized.product(
        name=("cayley", "exponential", "qr"), shape=((6, 4), (4, 6), (5, 5))
    )
    def test_image_of_any_matrix_is_orthogonal(self, name, shape):
        outer = np.outer(self.normal(shape[0]), self.normal(shape[1]))
        ones = np.ones(shape)
        for matrix in (0 * ones, ones, 1e18 * ones, outer, 1e-30 * outer):
            image, _ = ORTHOGONAL[name](matrix.astype("float32"))
            values = self.singular_values(image)
            self.assertAllClose(values, np.ones_like(values), 1e-4)

    @parameterized.parameters("bjorck", "cholesky")
    def test_singular_values_of_zero_stay_small(self, name):
        # The bound of what they give is that of the other singular values.
        outer = np.outer([3.0, 0.0, 4.0], [1.0, 0.0]).astype("float32")
        image, _ = ORTHOGONAL[name](outer)
        self.assertAllClose(image, [[0.6, 0.0], [0.0, 0.0], [0.8, 0.0]], 1e-5)
        image, _ = ORTHOGONAL[name](np.zeros((3, 2), "float32"))
        self.assertAllClose(image, np.zeros((3, 2)), 0, 0)

    @parameterized.parameters((6, 6), (9, 6), (6, 9))
    def test_multiply_by_the_image_of_a_huge_matrix(self, *shape):
        cayley = parametrizations.Cayley()
        matrix, inputs = (
            self.normal(*shape, scale=1e18),
            self.normal(2, shape[0]),
        )
        image, _ = cayley(matrix)
        outputs, _ = cayley.multiply(inputs, matrix, {})
        self.assertAllClose(outputs, ops.matmul(inputs, image), 1e-3)

    @parameterized.product(
        name=("cayley", "exponential"), size=(2, 5), scale=(0.0, 1.0, 20.0)
    )
    def test_rotations_have_determinant_one(self, name, size, scale):
        for sign in (1, -1):
            # Of either determinant.
            matrix = self.normal(size, size)
            matrix[0] *= sign * np.sign(np.linalg.det(matrix))
            image, _ = ORTHOGONAL[name](scale * matrix)
            determinant = np.linalg.det(to_numpy(image).astype("float64"))
            self.assertAllClose(determinant, 1.0, 1e-4)

    @parameterized.parameters("bjorck", "cholesky", "qr")
    def test_others_keep_the_sign_of_the_determinant(self, name):
        for sign in (1, -1):
            matrix = self.normal(5, 5)
            matrix[0] *= sign * np.sign(np.linalg.det(matrix))
            image, _ = ORTHOGONAL[name](matrix)
            determinant = np.linalg.det(to_numpy(image).astype("float64"))
            self.assertAllClose(determinant, sign, 1e-4)

    def test_sorting_undoes_the_sign_of_the_determinant(self):
        kernel = to_numpy(ORTHOGONAL["cayley"](self.normal(4, 4))[0])
        x = self.normal(8, 4)
        for layer in (layers.MaxMin(), layers.FullSort()):
            # A pair of columns that is sorted, of a rotation.
            basis = to_numpy(layer(np.array([[1.0, 2.0, 3.0, 4.0]])))[0]
            first, second = int(basis[0]) - 1, int(basis[1]) - 1
            swapped = kernel.copy()
            swapped[:, [first, second]] = kernel[:, [second, first]]
            self.assertLess(np.linalg.det(swapped), -0.99)
            self.assertAllClose(layer(x @ swapped), layer(x @ kernel), 1e-6)

    def test_cholesky_maps_singular_values_as_proven(self):
        values = np.array([1.0, 1e-2, 1e-3, 1e-4, 3e-5])
        expected = values
        for _ in range(2):
            ridge = 1e-6 * np.max(expected**2)
            expected = expected / np.sqrt(expected**2 + ridge)
        self.assertBetween(expected[-1], 0.9, 1.0)
        # Singular vectors that are axes: the Gram matrix does not round.
        image, _ = parametrizations.Cholesky()(np.diag(values))
        self.assertAllClose(image, np.diag(expected), 1e-5)
        # Of any matrix, the left singular vectors are kept.
        matrix = self.normal(7, 5)
        left, _, _ = np.linalg.svd(matrix, False)
        image = to_numpy(parametrizations.Cholesky()(matrix)[0])
        self.assertAllClose(image @ image.T, left @ left.T, 1e-5)

    def test_qr_and_cholesky_leave_orthogonal_matrices_alone(self):
        matrix, _ = parametrizations.Cayley()(self.normal(7, 4))
        for name in ("qr", "cholesky"):
            image, _ = ORTHOGONAL[name](matrix)
            self.assertAllClose(image, matrix, 1e-5)

    def test_exponential_is_that_of_the_generator(self):
        matrix = self.normal(5, 5)
        image, _ = parametrizations.Exponential()(matrix)
        generator = (matrix - matrix.T).astype("complex128")
        values, vectors = np.linalg.eig(generator)
        exact = (vectors * np.exp(values)) @ np.linalg.inv(vectors)
        self.assertAllClose(image, exact.real, 1e-5)

    @parameterized.parameters(
        parametrizations.Bjorck(7),
        parametrizations.BlockReflector(0.25),
        parametrizations.Cayley(),
        parametrizations.Cholesky(),
        parametrizations.Exponential(4),
        parametrizations.QR(),
    )
    def test_config_round_trip(self, parametrization):
        config = parametrizations.serialize(parametrization)
        restored = parametrizations.get(config)
        self.assertIs(type(restored), type(parametrization))
        self.assertEqual(restored.get_config(), parametrization.get_config())
        self.assertIs(parametrizations.get(parametrization), parametrization)

    def test_get_refuses_what_it_does_not_know(self):
        with self.assertRaisesRegex(
            ValueError, "'bjork'.*'aol', 'bjorck', 'block_reflector', 'cayley"
        ):
            parametrizations.get("bjork")
        with self.assertRaisesRegex(TypeError, "Received: 3"):
            parametrizations.get(3)

    def test_iterations_must_be_positive(self):
        for iterations in (0, -1, 1.5):
            with self.assertRaisesRegex(ValueError, "`iterations` must be"):
                parametrizations.Bjorck(iterations)
            with self.assertRaisesRegex(ValueError, "`squarings` must be"):
                parametrizations.Exponential(iterations)


class ReprTest(LipschitzTestCase):
    def test_hyperparameters_are_shown(self):
        found = parametrizations.Bjorck(iterations=7)
        self.assertIn("iterations=7", repr(found))
        self.assertEqual(
            eval(repr(found), vars(parametrizations)).get_config(),
            found.get_config(),
        )
        self.assertEqual(repr(parametrizations.QR()), "QR()")

    @parameterized.parameters(*ORTHOGONAL)
    def test_orthogonal_ones_are_found(self, name):
        found = parametrizations.get_orthogonal(name, owner="MyDense")
        self.assertIs(type(found), type(ORTHOGONAL[name]))
        for identifier in (found, parametrizations.serialize(found)):
            again = parametrizations.get_orthogonal(identifier, owner="MyDense")
            self.assertEqual(again.get_config(), found.get_config())

    @parameterized.parameters("aol", "frobenius", "spectral")
    def test_others_are_no_orthogonal_ones(self, name):
        with self.assertRaisesRegex(
            ValueError,
            "`MyDense` needs an orthogonal parametrization: pass one of "
            r"\['bjorck', 'block_reflector', 'cayley', 'cholesky', "
            r"'exponential', 'qr'\], .* "
            f"Received: parametrization='{name}'",
        ):
            parametrizations.get_orthogonal(name, owner="MyDense")

    def test_an_orthogonal_one_must_be_known(self):
        with self.assertRaisesRegex(ValueError, "Unknown parametrization"):
            parametrizations.get_orthogonal("polar", owner="MyDense")
        with self.assertRaisesRegex(TypeError, "Received: 3"):
            parametrizations.get_orthogonal(3, owner="MyDense")
