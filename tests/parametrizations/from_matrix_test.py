import math

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip import parametrizations
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

NAMES = (
    *("aol", "bjorck", "cayley", "cholesky", "exponential", "qr", "spectral"),
    "frobenius",
)
ORTHOGONAL = NAMES[:-1]
ANY_SHAPE = tuple(name for name in ORTHOGONAL if name != "exponential")


class FromMatrixTest(LipschitzTestCase):
    def rotation(self, size):
        """A rotation of angles that are not near half a turn."""
        skew = np.triu(self.rng.normal(size=(size, size)), 1)
        skew = skew - skew.T
        skew /= max(np.linalg.norm(skew, 2), 1)
        return np.linalg.solve(np.eye(size) + skew, np.eye(size) - skew)

    def assertReached(self, name, matrix, atol=3e-6):
        parametrization = parametrizations.get(name)
        free = parametrization.from_matrix(matrix)
        self.assertEqual((free.shape, free.dtype), (matrix.shape, "float32"))
        self.assertAllClose(parametrization(free)[0], matrix, atol, 0)

    @parameterized.parameters(*ORTHOGONAL)
    def test_rotations_are_reached(self, name):
        for size in (1, 2, 5):
            self.assertReached(name, self.rotation(size))

    @parameterized.parameters(*ANY_SHAPE)
    def test_matrices_that_are_not_square_are_reached(self, name):
        matrix = self.rotation(6)
        for shape in ((6, 4), (3, 6), (6, 1), (1, 6)):
            self.assertReached(name, matrix[: shape[0], : shape[1]])

    def test_a_rotation_by_hand(self):
        # Of an angle `t` the Cayley transform is of `tan(t / 2)`.
        cosine, sine = math.cos(1.2), math.sin(1.2)
        matrix = np.array([[cosine, sine], [-sine, cosine]])
        cayley = parametrizations.Cayley().from_matrix(matrix)
        half = math.tan(0.6) / 2
        self.assertAllClose(cayley, [[0, -half], [half, 0]])
        exponential = parametrizations.Exponential().from_matrix(matrix)
        self.assertAllClose(exponential, [[0, 0.6], [-0.6, 0]])

    def test_the_exponential_reaches_half_turns(self):
        quarter = np.array([[0.0, 1.0], [-1.0, 0.0]])
        mixed = np.zeros((6, 6))
        mixed[:2, :2], mixed[2:4, 2:4] = quarter, -np.eye(2)
        mixed[4:, 4:] = np.eye(2)
        basis = self.rotation(6)
        for matrix in (-np.eye(2), -np.eye(4), mixed, basis @ mixed @ basis.T):
            # In float32, angles are half a turn up to roundings.
            self.assertReached("exponential", matrix.astype("float32"))

    @parameterized.parameters(
        ("cayley", -np.eye(2)),
        ("cayley", np.diag([1.0, -1.0])),
        ("cayley", np.array([[-1.0], [0.0]])),
        ("exponential", np.diag([1.0, 1.0, -1.0])),
        ("exponential", np.eye(3, 2)[[1, 2, 0]]),
        ("exponential", np.roll(np.eye(4), 1, axis=0)),
        ("frobenius", np.eye(2)),
        ("frobenius", [[0.3, 0.4]]),
        ("spectral", 0.5 * np.eye(3)),
        ("aol", [[0.5, 0.5], [0.0, 0.5]]),
    )
    def test_matrices_out_of_reach_are_refused(self, name, matrix):
        parametrization = parametrizations.get(name)
        kind = type(parametrization)
        error = f"`{kind.__name__}.from_matrix` takes {kind.reach[:20]}"
        with self.assertRaisesRegex(ValueError, error):
            parametrization.from_matrix(matrix)

    def test_norms_of_one_are_enough_where_nothing_is_orthogonal(self):
        matrix = np.diag([1.0, 0.25, 0.0])
        self.assertReached("spectral", matrix)
        self.assertReached("frobenius", np.array([[0.6, 0.0], [0.0, 0.8]]))

    @parameterized.parameters("bjorck", "cayley", "cholesky", "qr")
    def test_matrices_that_are_not_orthogonal_are_refused(self, name):
        error = "`matrix` must have orthonormal columns.*between 0.5 and 1"
        for matrix in (np.diag([1.0, 0.5]), np.eye(2, 3) * [[1.0], [0.5]]):
            with self.assertRaisesRegex(ValueError, error):
                parametrizations.get(name).from_matrix(matrix)

    def test_what_is_no_matrix_is_refused(self):
        for matrix in (np.ones(3), np.ones((1, 2, 2)), np.ones((0, 3)), 1.0):
            error = "`matrix` must be an array of shape `\\(rows, columns\\)`"
            with self.assertRaisesRegex(ValueError, error):
                parametrizations.QR().from_matrix(matrix)
        with self.assertRaisesRegex(ValueError, "of finite numbers"):
            parametrizations.Spectral().from_matrix([[np.nan]])

    @parameterized.parameters("cayley", "bjorck", "exponential", "qr")
    def test_a_layer_starts_with_a_matrix(self, name):
        matrix = self.rotation(4)
        start = parametrizations.get(name).from_matrix(matrix)
        layer = layers.OrthogonalDense(
            4, parametrization=name, kernel_initializer=start
        )
        model = keras.Sequential([keras.Input((4,)), layer])
        self.assertAllClose(layer.kernel, matrix, 3e-6)
        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertAllClose(loaded.layers[0].kernel, layer.kernel, 0, 0)
        copy = keras.models.clone_model(model)
        self.assertAllClose(to_numpy(copy.layers[0].kernel), matrix, 3e-6)
