import sys
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import certificates
from keras_lip import layers
from keras_lip.certificates.attacks.find_adversarials import find_adversarials
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def make_linear(kernel):
    """Returns the linear classifier of a matrix of a row for each input."""
    size, classes = np.shape(kernel)
    model = keras.Sequential(
        [keras.Input((size,)), keras.layers.Dense(classes, use_bias=False)]
    )
    model.layers[0].set_weights([np.asarray(kernel, "float32")])
    return model


class FindAdversarialsTest(LipschitzTestCase):
    @parameterized.parameters(("l2", np.sqrt(2)), ("linf", 2))
    def test_boundary_of_a_linear_model_is_found(self, norm, divisor):
        model = make_linear(np.eye(2))
        gaps = np.array([0.05, 0.35, -0.2])
        x = np.stack([0.5 + gaps / 2, 0.5 - gaps / 2], axis=1)
        found = find_adversarials(model, x, norm=norm, batch_size=2)
        self.assertEqual(found.norm, norm)
        self.assertAllClose(found.labels, [1, 1, 0], 0)
        self.assertAllClose(
            found.distances, np.abs(gaps) / divisor, atol=1e-4, rtol=1e-3
        )
        # The distances are those of the inputs, and from a nearest one.
        self.assertAllClose(
            np.linalg.norm(
                found.inputs - x.astype("float32"),
                ord=2 if norm == "l2" else np.inf,
                axis=1,
            ),
            found.distances,
        )
        answers = to_numpy(model(found.inputs)).argmax(axis=1)
        self.assertAllClose(found.labels, answers, 0)

    def test_nothing_is_found_where_nothing_is(self):
        # Within the bounds the first logit is always the larger one.
        model = make_linear([[1.0, 0.0], [1.0, 0.5]])
        found = find_adversarials(model, [[0.4, 0.7]], bounds=(0.1, 1.0))
        self.assertAllClose(found.distances, [np.inf])
        self.assertAllClose(found.inputs, [[0.4, 0.7]])
        self.assertAllClose(found.labels, [0], 0)

    def test_nearer_of_both_attacks_is_kept_and_approached(self):
        model = make_linear(np.eye(2))
        x = np.array([[0.6, 0.4], [0.7, 0.3]])
        ends = [
            np.array([[0.4, 0.6], [0.7, 0.9]]),
            np.array([[0.6, 0.8], [0.4, 0.6]]),
        ]
        attacks = {
            name: mock.Mock(return_value=(None, end.astype("float32"), None))
            for name, end in zip("ab", ends, strict=True)
        }
        module = sys.modules[find_adversarials.__module__]
        with mock.patch.object(module, "make_attacks") as make:
            make.return_value.minimal = attacks
            found = find_adversarials(model, x)
        # Straight towards either, until both entries are equal.
        nearest = [[0.5, 0.5], [0.5, 0.5]]
        self.assertAllClose(found.inputs, nearest, atol=1e-4)
        self.assertAllClose(
            found.distances, [np.sqrt(0.02), np.sqrt(0.08)], atol=1e-4
        )

    def test_certified_radius_is_below_what_is_found(self):
        model = keras.Sequential(
            [
                keras.Input((4,)),
                layers.OrthogonalDense(8),
                layers.MaxMin(),
                layers.UnitNormDense(3),
            ]
        )
        x = self.rng.uniform(0, 1, (16, 4)).astype("float32")
        found = find_adversarials(model, x)
        radius = certificates.certified_radius(model, x)
        self.assertTrue(np.isfinite(found.distances).any())
        self.assertTrue(np.all(radius <= found.distances))

    def test_single_output_changes_its_sign(self):
        model = make_linear([[2.0], [0.0]])
        found = find_adversarials(
            model, [[0.25, 0.5], [-0.5, 0.5]], bounds=(-1, 1)
        )
        self.assertAllClose(found.labels, [0, 1], 0)
        self.assertAllClose(found.distances, [0.25, 0.5], 1e-3, 1e-3)

    def test_unusable_arguments_are_refused(self):
        model, x = make_linear(np.eye(2)), [[0.2, 0.6]]
        for arguments, message in (
            ({"steps": 0}, "`steps` must be a positive integer"),
            ({"batch_size": 0.5}, "`batch_size` must be a positive integer"),
            ({"norm": "l1"}, "norm"),
            ({"bounds": 1.0}, "smallest and the largest.*bounds=1.0"),
            ({"bounds": (1.0, 0.0)}, "`bounds` must be"),
            ({"bounds": (0.3, 1.0)}, "lie within `bounds`.*from 0.2"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                find_adversarials(model, x, **arguments)
        with self.assertRaisesRegex(ValueError, "finite"):
            find_adversarials(model, [[np.nan, 0.0]])
        with mock.patch.dict("sys.modules", foolbox=None):
            with self.assertRaisesRegex(ImportError, "keras-lip.attacks"):
                find_adversarials(model, x)
