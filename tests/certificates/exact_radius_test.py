import keras
import mpmath
import numpy as np
from absl.testing import parameterized
from keras import layers

import keras_lip as kl
from keras_lip.bounds import lipschitz_bound
from keras_lip.certificates import audit
from keras_lip.certificates import certified_radius
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

# What certificates give up for the rounding of logits, relative to the sizes of
# logits and input.
ROUNDING = 2.0**-35

# What they give up for the underflow of float64.
UNDERFLOW = 1e-304


def exact_radius(x, matrix, offset):
    """The distance to the nearest other class, in 50 digits."""
    with mpmath.workdps(50):
        columns = [[mpmath.mpf(w) for w in column] for column in matrix.T]
        point = [mpmath.mpf(value) for value in x]
        logits = [
            mpmath.fdot(point, column) + mpmath.mpf(shift)
            for column, shift in zip(columns, offset, strict=True)
        ]
        if len(logits) == 1:
            return abs(logits[0]) / mpmath.norm(columns[0])
        top = max(range(len(logits)), key=lambda j: logits[j])
        radii = []
        for j, column in enumerate(columns):
            normal = [a - b for a, b in zip(columns[top], column, strict=True)]
            if j != top and mpmath.norm(normal) > 0:
                radii.append((logits[top] - logits[j]) / mpmath.norm(normal))
        return min(radii)


def make_head(kernel, bias=None):
    kernel = np.asarray(kernel, dtype="float32")
    model = keras.Sequential(
        [keras.Input((len(kernel),)), layers.Dense(kernel.shape[1])]
    )
    bias = np.zeros(kernel.shape[1]) if bias is None else np.asarray(bias)
    model.layers[0].set_weights([kernel, bias.astype("float32")])
    return model


class ExactRadiusTest(LipschitzTestCase):
    def assertExact(self, model, x, matrix, offset, accuracy):
        """No radius is above the true one, nor far below."""
        x = np.asarray(x, dtype="float64")
        found = certified_radius(model, x)
        for point, radius in zip(x, found, strict=True):
            exact = exact_radius(point, matrix, offset)
            self.assertLessEqual(radius, exact)
            self.assertGreaterEqual(radius, exact * (1 - accuracy))

    def head_weights(self, model):
        kernel, bias = (to_numpy(w) for w in model.layers[-1].weights)
        return kernel.astype("float64"), bias.astype("float64")

    def draw_head(self, model):
        # The same on every backend.
        model.layers[-1].set_weights([self.normal(4, 3), self.normal(3)])
        return self.head_weights(model)

    def draw_inputs(self, matrix, offset):
        """Inputs away from ties, where all of a margin is lost to rounding."""
        x = self.normal(64, 4).astype("float64")
        logits = np.sort(x @ matrix + offset, axis=1)
        below = logits[:, -2] if logits.shape[1] > 1 else 0.0
        x = x[np.abs(logits[:, -1] - below) > 0.4][:4]
        self.assertLen(x, 4)
        return x

    @parameterized.parameters(1, 2, 4)
    def test_linear_layer_of_any_weights(self, classes):
        model = make_head(self.normal(4, classes), self.normal(classes))
        kernel, bias = self.head_weights(model)
        x = self.draw_inputs(kernel, bias)
        self.assertExact(model, x, kernel, bias, 1e-9)

    def test_network_of_signed_permutations(self):
        stack, matrix = [keras.Input((4,))], np.eye(4)
        for _ in range(3):
            stack.append(layers.Dense(4, use_bias=False))
        model = keras.Sequential([*stack, layers.Dense(3)])
        for layer in model.layers[:-1]:
            kernel = np.eye(4)[self.rng.permutation(4)]
            kernel = kernel * self.rng.choice([-1.0, 1.0], 4)
            layer.set_weights([kernel])
            matrix = matrix @ kernel
        kernel, bias = self.draw_head(model)
        x = self.draw_inputs(matrix @ kernel, bias)
        self.assertExact(model, x, matrix @ kernel, bias, 1e-9)

    @parameterized.parameters("cayley", "bjorck", "qr")
    def test_deep_orthogonal_network_in_float32(self, parametrization):
        stack, matrix = [keras.Input((4,))], np.eye(4)
        for _ in range(6):
            stack.append(
                kl.layers.OrthogonalDense(
                    4, parametrization=parametrization, use_bias=False
                )
            )
        model = keras.Sequential([*stack, layers.Dense(3)])
        # On JAX `layer.kernel` is compiled in other pieces, and may be rounded
        # in another way than the kernels that are certified.
        for layer in kl.models.materialize(model).layers[1:-1]:
            matrix = matrix @ to_numpy(layer.kernel).astype("float64")
        kernel, bias = self.draw_head(model)
        x = self.draw_inputs(matrix @ kernel, bias)
        self.assertExact(model, x, matrix @ kernel, bias, 1e-6)

    @parameterized.parameters(1e-42, 1e-30, 1e-5, 1e30)
    def test_weights_of_any_size(self, scale):
        # Subnormal ones as well, which some machines flush to zero.
        kernel = np.float32(scale) * np.array([[3, 0, 1], [0, 2, 1]])
        model = make_head(kernel)
        kernel, bias = self.head_weights(model)
        x = np.array([[1.0, 0.0], [-1.0, 3.0]])
        found = certified_radius(model, x)
        exact = [exact_radius(point, kernel, bias) for point in x]
        self.assertTrue((found <= np.array(exact, dtype="float64")).all())
        if scale > 1e-38:
            self.assertExact(model, x, kernel, bias, 1e-9)

    def test_classes_that_are_duplicates(self):
        # The first two always tie; the last one is a copy with less bias.
        model = make_head([[1, 1, 0, 1], [0, 0, 1, 0]], [0, 0, 0, -1])
        x = np.array([[2.0, 0.0], [0.0, 3.0]])
        self.assertEqual(certified_radius(model, x)[0], 0.0)
        kernel, bias = self.head_weights(model)
        self.assertExact(model, x[1:], kernel, bias, 1e-9)
        model = make_head([[1, 0, 1], [0, 1, 0]], [0, 0, -1])
        kernel, bias = self.head_weights(model)
        self.assertExact(model, x, kernel, bias, 1e-9)

    def test_weights_of_rank_one(self):
        column = self.normal(4, 1)
        model = make_head(column * np.array([[1.0, -2.0, 0.5]]))
        kernel, bias = self.head_weights(model)
        x = np.sign(column[:, 0]) * np.array([[1.0], [-1.0]])
        self.assertExact(model, x, kernel, bias, 1e-9)

    @parameterized.parameters(0.0, 1e-300, 1e-16, 1e-9, 1e-6)
    def test_near_ties(self, gap):
        model = make_head(np.eye(2))
        kernel, bias = self.head_weights(model)
        x = np.array([[gap, 0.0], [0.5 + gap, 0.5]])
        found = certified_radius(model, x)
        exact = [exact_radius(point, kernel, bias) for point in x]
        for point, radius, distance in zip(x, found, exact, strict=True):
            self.assertLessEqual(radius, distance)
            loss = ROUNDING * 2 * np.abs(point).max() + UNDERFLOW
            self.assertGreaterEqual(radius, distance - loss)
        if gap == 0:
            self.assertEqual(found.tolist(), [0.0, 0.0])

    def test_stored_vector_orthogonal_to_the_dominant_direction(self):
        # The estimate is 1 where the norm is 3: what runs is 3, and is said.
        layer = kl.layers.LipschitzDense(
            2, parametrization="spectral", use_bias=False
        )
        model = keras.Sequential([keras.Input((2,)), layer])
        layer.free_kernel.assign(np.diag([3.0, 1.0]))
        (vector,) = (w for w in layer.weights if "vector" in w.name)
        vector.assign([[0.0, 1.0]])
        kernel = to_numpy(layer.kernel).astype("float64")
        norm = self.singular_values(kernel).max()
        self.assertGreater(norm, 2.9)
        self.assertAlmostEqual(lipschitz_bound(model), norm, delta=1e-12)
        self.assertGreater(audit(model).layers[0].estimate, 2.9)
        x = np.array([[1.0, 0.0], [-1.0, 3.0]])
        self.assertExact(model, x, kernel, np.zeros(2), 1e-9)

    @parameterized.named_parameters(
        ("dense", lambda: layers.Dense(3), (4,)),
        ("conv", lambda: layers.Conv1D(2, 3, padding="same"), (4, 2)),
        (
            "transpose",
            lambda: layers.Conv1DTranspose(2, 2, strides=2),
            (3, 2),
        ),
        (
            "depthwise",
            lambda: layers.DepthwiseConv1D(2, padding="same"),
            (4, 2),
        ),
    )
    def test_bound_is_above_the_norm_of_the_explicit_matrix(self, make, shape):
        layer = make()
        model = keras.Sequential([keras.Input(shape), layer])
        # Few bits, so that the outputs for unit inputs are exact.
        for weight in layer.weights:
            weight.assign(self.rng.integers(-4, 5, size=weight.shape))
        size = int(np.prod(shape))
        points = np.concatenate([np.zeros((1, size)), np.eye(size)])
        outputs = to_numpy(model(points.reshape(-1, *shape)))
        outputs = outputs.reshape(size + 1, -1).astype("float64")
        matrix = mpmath.matrix((outputs[1:] - outputs[0]).tolist())
        with mpmath.workdps(50):
            norm = max(mpmath.svd_r(matrix, compute_uv=False))
            bound = mpmath.mpf(lipschitz_bound(model))
            self.assertGreaterEqual(bound, norm)
            self.assertLess(bound, norm * 1.5)
