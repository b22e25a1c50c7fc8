import importlib
import itertools
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import certificates
from keras_lip import layers
from keras_lip import models
from keras_lip.certificates import certifier
from keras_lip.certificates.pair_bounds import bound_pairs
from keras_lip.held_values import compute_once
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def make_linear_network(head, classes=4, depth=3):
    """An affine function whose distance to its boundaries is known exactly."""
    stack = [keras.Input((8,))]
    for index in range(depth):
        parametrization = "bjorck" if index % 2 else "cayley"
        stack.append(
            layers.OrthogonalDense(
                8,
                parametrization=parametrization,
                bias_initializer="random_normal",
            )
        )
    return models.LipschitzSequential([*stack, head(classes)])


def exact_radii(model, x):
    """Distances to the decision boundary of an affine model, in float64."""
    matrix, offset = np.eye(8), np.zeros(8)
    for layer in model.layers:
        is_ours = isinstance(layer, layers.LipschitzLayer)
        kernel = compute_once(layer) if is_ours else layer.kernel
        kernel = to_numpy(kernel).astype("float64")
        matrix = matrix @ kernel
        offset = offset @ kernel + to_numpy(layer.bias)
    logits = x.astype("float64") @ matrix + offset
    if logits.shape[1] == 1:
        return np.abs(logits[:, 0]) / np.linalg.norm(matrix[:, 0])
    labels = np.argmax(logits, axis=1)
    radii = np.full(len(x), np.inf)
    for other in range(logits.shape[1]):
        normals = matrix[:, labels] - matrix[:, [other]]
        with np.errstate(invalid="ignore", divide="ignore"):
            gaps = logits[np.arange(len(x)), labels] - logits[:, other]
            distances = gaps / np.linalg.norm(normals, axis=0)
        radii = np.where(labels == other, radii, np.minimum(radii, distances))
    return radii


class CertifyTest(LipschitzTestCase):
    @parameterized.product(
        head=(
            layers.UnitNormDense,
            layers.OrthogonalDense,
            keras.layers.Dense,
        ),
        classes=(1, 2, 4),
    )
    def test_radii_of_linear_networks_are_exact(self, head, classes):
        # The trunk is orthogonal to float32 precision, which is all that is
        # lost: the radius is within 1e-6 of the true distance, and never above.
        model = make_linear_network(head, classes)
        x = self.normal(200, 8)
        exact = exact_radii(model, x)
        radius = certificates.certified_radius(model, x)
        self.assertTrue((radius <= exact).all())
        self.assertTrue((radius >= exact * (1 - 1e-6)).all())

    def test_signed_permutations_lose_nothing(self):
        model = make_linear_network(layers.UnitNormDense, depth=1)
        permutation = np.eye(8)[self.rng.permutation(8)]
        kernel = permutation * self.rng.choice([-1, 1], 8)
        stock = models.materialize(model)
        stock.layers[1].set_weights([kernel, self.normal(8)])
        x = self.normal(200, 8)
        matrix, bias = stock.layers[2].get_weights()
        logits = (x @ kernel + stock.layers[1].get_weights()[1]).astype(
            "float64"
        )
        logits = logits @ matrix.astype("float64") + bias
        top = np.argmax(logits, axis=1)
        gaps = logits[np.arange(200), top][:, None] - logits
        distances = np.linalg.norm(
            matrix.astype("float64")[:, top][:, :, None]
            - matrix.astype("float64")[:, None, :],
            axis=0,
        )
        with np.errstate(invalid="ignore"):
            exact = np.nanmin(gaps / distances, axis=1)
        radius = certificates.certified_radius(stock, x)
        self.assertTrue((radius >= exact * (1 - 1e-6)).all())

    def test_radius_counts_the_preprocessing(self):
        inner = make_linear_network(layers.UnitNormDense)
        scaled = models.LipschitzSequential(
            [keras.Input((8,)), keras.layers.Rescaling(4.0), inner]
        )
        x = self.normal(20, 8)
        self.assertAllClose(
            4 * certificates.certified_radius(scaled, x / 4),
            certificates.certified_radius(inner, x),
        )

    def test_scale_that_runs_is_certified(self):
        # The step is four times too long (see `ConvexPotentialDense`): the
        # logits of the certificate are those of this very layer.
        layer = layers.ConvexPotentialDense(2, activation="linear")
        model = models.LipschitzSequential([keras.Input((2,)), layer])
        layer.kernel.assign(np.diag([2.0, 1.0]))
        layer.power_iteration_vector.assign([[0.0, 1.0]])
        x = np.array([[1.0, 2.0], [-1.0, 3.0]])
        # Outputs -7 x1 and -x2; the boundary 7 x1 = x2 is |7 x1 - x2| / 50^.5
        # away, and the bound of both outputs 7.
        radius = certificates.certified_radius(model, x)
        self.assertAllClose(radius, [5 / 98**0.5, 10 / 98**0.5], rtol=1e-5)

    def test_report_holds_the_facts(self):
        model = make_linear_network(layers.UnitNormDense)
        x = self.normal(50, 8)
        y = np.argmax(model.predict(x, verbose=0), axis=1)
        y[:10] = (y[:10] + 1) % 4
        report = certificates.certify(model, x, y, epsilons=[0.1, 0.2])
        self.assertAllClose(report.accuracy, 0.8)
        self.assertAllClose(report.certified_accuracy(0), 0.8)
        radius = certificates.certified_radius(model, x)
        self.assertAllClose(report.radius, radius, 0, 0)
        for epsilon in (0.1, 0.2):
            expected = np.mean((radius > epsilon) & (np.arange(50) >= 10))
            self.assertAllClose(report.certified_accuracy(epsilon), expected)
        self.assertIn("linear head", report.method)
        self.assertAllClose(report.certified_accuracy(radius.max()), 0)

    def test_softplus_before_the_logits_is_jointly_bounded(self):
        model = models.LipschitzSequential(
            [
                keras.Input((8,)),
                layers.OrthogonalDense(3),
                keras.layers.ReLU(),
            ]
        )
        x = self.normal(20, 8)
        logits = np.sort(model.predict(x, verbose=0), axis=1)
        expected = (logits[:, -1] - logits[:, -2]) / 2**0.5
        radius = certificates.certified_radius(model, x)
        self.assertAllClose(radius, expected, 1e-5)

    def test_activation_after_the_last_layer_is_not_taken_for_linear(self):
        model = models.LipschitzSequential(
            [keras.Input((8,)), layers.UnitNormDense(3, activation="relu")]
        )
        x = self.normal(20, 8)
        report = certificates.certify(model, x, np.zeros(20, int))
        self.assertIn("jointly", report.method)

    def test_batches_of_any_kind_give_the_same_radii(self):
        model = make_linear_network(layers.UnitNormDense)
        x, y = self.normal(23, 8), self.rng.integers(0, 4, 23)

        class Data(keras.utils.PyDataset):
            def __len__(self):
                return 3

            def __getitem__(self, index):
                part = slice(10 * index, 10 * index + 10)
                return x[part], y[part]

        expected = certificates.certify(model, x, y)
        data = Data()
        generator = ((x[i : i + 5], y[i : i + 5]) for i in range(0, 23, 5))
        for batches in (data, generator):
            report = certificates.certify(model, batches)
            self.assertAllClose(report.radius, expected.radius, 1e-12)
            self.assertAllClose(report.label, y, 0, 0)
        one_hot = certificates.certify(model, x, np.eye(4)[y], batch_size=7)
        self.assertAllClose(one_hot.radius, expected.radius, 1e-12)
        self.assertAllClose(one_hot.label, y, 0, 0)

    def test_tf_data_gives_the_same_radii(self):
        if keras.backend.backend() != "tensorflow":
            self.skipTest("Imports TensorFlow, which takes seconds.")
        import tensorflow as tf

        model = make_linear_network(layers.UnitNormDense)
        x, y = self.normal(23, 8), self.rng.integers(0, 4, 23)
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(10)
        report = certificates.certify(model, data)
        expected = certificates.certify(model, x, y)
        self.assertAllClose(report.radius, expected.radius, 1e-12)

    def test_pairs_are_bounded_once(self):
        model = keras.Sequential([keras.Input((3,)), layers.UnitNormDense(2)])
        audit = certificates.audit(model)
        calls = mock.Mock(side_effect=bound_pairs)
        # The function `audit` hides the module of this name.
        module = importlib.import_module("keras_lip.certificates.audit")
        with (
            mock.patch.object(module, "bound_pairs", calls),
            mock.patch.object(certifier, "bound_pairs", calls),
        ):
            certificates.certify(model, self.normal(5, 3), [0] * 5)
            self.assertEqual(calls.call_count, 1)
            # An audit brings its own.
            certificates.certify(model, self.normal(5, 3), [0] * 5, audit=audit)
            self.assertEqual(calls.call_count, 1)

    def test_mixtures_of_binary_labels_are_refused_in_any_batches(self):
        model = make_linear_network(layers.UnitNormDense, 1)
        x, y = self.normal(4, 8), np.array([1, 0, 1, -1])
        for batch_size, shard in itertools.product((1, 3), (None, (0, 2))):
            with self.assertRaisesRegex(ValueError, "a mixture of 0 and -1"):
                certify = certificates.certify
                certify(model, x, y, batch_size=batch_size, shard=shard)
        batches = zip(np.split(x, 4), np.split(y, 4), strict=True)
        with self.assertRaisesRegex(ValueError, "a mixture of 0 and -1"):
            certificates.certify(model, batches)

    def test_binary_labels_of_both_kinds(self):
        model = make_linear_network(layers.UnitNormDense, classes=1)
        x = self.normal(20, 8)
        signs = np.sign(model.predict(x, verbose=0)[:, 0])
        for labels in (signs, (signs + 1) / 2, signs[:, None]):
            report = certificates.certify(model, x, labels)
            self.assertEqual(report.accuracy, 1.0)

    def test_non_finite_weights_certify_nothing(self):
        model = make_linear_network(layers.UnitNormDense)
        for value in (np.nan, np.inf):
            model.layers[-1].bias.assign([0.0, value, 0.0, 0.0])
            radius = certificates.certified_radius(model, self.normal(5, 8))
            self.assertAllClose(radius, np.zeros(5), 0, 0)

    def test_bad_data_is_refused(self):
        model = make_linear_network(layers.UnitNormDense)
        x, y = self.normal(6, 8), np.zeros(6, int)
        broken = x.copy()
        broken[4, 2] = np.nan
        certify = certificates.certify
        with self.assertRaisesRegex(ValueError, "infinity in sample 4"):
            certify(model, broken, y, batch_size=3)
        with self.assertRaisesRegex(ValueError, "Received: none"):
            certify(model, x[:0], y[:0])
        with self.assertRaisesRegex(ValueError, "6 inputs and 5 labels"):
            certify(model, x, y[:5])
        with self.assertRaisesRegex(ValueError, r"y=\[\[4\]\], among"):
            certify(model, x, y + 4)
        with self.assertRaisesRegex(ValueError, r"shape \(6, 3\)"):
            certify(model, x, np.zeros((6, 3)))
        with self.assertRaisesRegex(ValueError, "a single 1 in each row"):
            certify(model, x, np.ones((6, 4)))
        with self.assertRaisesRegex(ValueError, "Labels are needed"):
            certify(model, x)
        with self.assertRaisesRegex(ValueError, "contains the labels"):
            certify(model, iter([(x, y)]), y)
        with self.assertRaisesRegex(TypeError, "`x` must be an array"):
            certify(model, 3, y)
        with self.assertRaisesRegex(ValueError, "`epsilons` must be"):
            certify(model, x, y, epsilons=[-0.1])
        with self.assertRaisesRegex(ValueError, "`batch_size` must be"):
            certify(model, x, y, batch_size=0)

    def test_models_that_cannot_be_certified_are_refused(self):
        x, y = self.normal(6, 8), np.zeros(6, int)
        certify = certificates.certify
        inputs = keras.Input((8,))
        hidden = layers.OrthogonalDense(4)(inputs)
        with self.assertRaisesRegex(ValueError, "one output.*2 outputs"):
            certify(keras.Model(inputs, [hidden, hidden]), x, y)
        soft = keras.layers.Dense(3, activation="sigmoid")(hidden)
        with self.assertRaisesRegex(ValueError, "ends in a `sigmoid`"):
            certify(keras.Model(inputs, soft), x, y)
        with self.assertRaisesRegex(ValueError, "ends in a `softmax`"):
            soft = keras.layers.Dense(3, activation="softmax")(hidden)
            certify(keras.Model(inputs, soft), x, y)
        with self.assertRaisesRegex(ValueError, "output shape"):
            image = keras.layers.Reshape((2, 2))(hidden)
            certify(keras.Model(inputs, image), x, y)
        with self.assertRaisesRegex(ValueError, "is not built"):
            certify(models.LipschitzSequential([layers.MaxMin()]), x, y)
        mixed = keras.Sequential(
            [
                keras.Input((8,)),
                layers.OrthogonalDense(3, dtype="mixed_float16"),
            ]
        )
        with self.assertRaisesRegex(ValueError, "computes in float16"):
            certify(mixed, x, y)
