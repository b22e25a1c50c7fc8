import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import bounds
from keras_lip import certificates
from keras_lip import layers
from keras_lip import models
from keras_lip.data import iterate_batches
from tests.lipschitz_test_case import LipschitzTestCase


class Batches(keras.utils.PyDataset):
    def __init__(self, *samples):
        super().__init__()
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


class BatchesTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.x, self.y = self.normal(5, 4), np.arange(5) % 3
        self.model = keras.Sequential(
            [keras.Input((4,)), layers.UnitNormDense(3)]
        )

    def test_samples_come_in_order(self):
        for x, y in (
            (self.x, self.y),
            (self.x.tolist(), self.y.tolist()),
            (Batches((self.x[:3], self.y[:3]), (self.x[3:], self.y[3:])), None),
            (iter([(self.x[:1], self.y[:1]), (self.x[1:], self.y[1:])]), None),
        ):
            parts = list(iterate_batches(self.model, x, y, 2))
            self.assertAllClose(np.concatenate([p[0] for p in parts]), self.x)
            self.assertAllClose(np.concatenate([p[1] for p in parts]), self.y)

    def test_sample_without_its_batch_axis_is_named(self):
        with self.assertRaisesRegex(ValueError, r"batch axis, `x\[None\]`"):
            certificates.certify(self.model, self.x[0], self.y[0])
        with self.assertRaisesRegex(ValueError, r"batch axis, `x\[None\]`"):
            certificates.certified_radius(self.model, self.x[0])

    def test_data_set_without_batches_is_named(self):
        samples = Batches(*zip(self.x, self.y, strict=True))
        with self.assertRaisesRegex(ValueError, r"a data set its `batch"):
            certificates.certify(self.model, samples)

    @parameterized.parameters((5, 3), (5, 2, 2), (5, 4, 1))
    def test_inputs_of_another_shape_are_named(self, *shape):
        with self.assertRaisesRegex(ValueError, r"\('batch', 4\)\. Received"):
            certificates.certify(self.model, np.zeros(shape), self.y)

    @parameterized.parameters(
        (np.array([list("abcd")]), "real numbers.*<U1"),
        (np.ones((1, 4), complex), "real numbers.*complex128"),
        ([[1.0, 2.0], [3.0]], "`x` must be an array of numbers, all samples"),
    )
    def test_inputs_of_no_numbers_are_named(self, x, message):
        with self.assertRaisesRegex(ValueError, message):
            certificates.certified_radius(self.model, x)

    def test_empty_batches_are_named(self):
        critic = keras.Sequential([keras.Input((4,)), layers.UnitNormDense(1)])
        for read in (
            lambda x: certificates.certified_radius(self.model, x),
            lambda x: certificates.certify(self.model, x, shard=(0, 1)),
            lambda x: certificates.wasserstein_lower_bound(critic, x, self.x),
        ):
            batches = [(self.x, self.y), (self.x[:0], self.y[:0])]
            with self.assertRaisesRegex(
                ValueError, r"leave out empty.*shape \(0, 4\) after 5 samples"
            ):
                read(iter(batches))

    @parameterized.parameters("data", ({"a": np.ones((1, 4))},), 3, None)
    def test_what_is_no_data_is_named(self, x):
        with self.assertRaisesRegex(TypeError, "an iterable of batches"):
            certificates.certify(self.model, x, [0])

    @parameterized.parameters(3, None, "model.keras", models.LipschitzModel)
    def test_what_is_no_model_is_named(self, model):
        for run in (
            certificates.certified_radius,
            bounds.lipschitz_estimate,
        ):
            with self.assertRaisesRegex(
                TypeError, "A `keras.Model` is expected"
            ):
                run(model, self.x)
        with self.assertRaisesRegex(TypeError, "A `keras.Model` is expected"):
            models.clone_model(model)

    def test_sizes_that_a_model_leaves_open_are_taken(self):
        model = keras.Sequential(
            [
                keras.Input((None, None, 2)),
                keras.layers.GlobalAveragePooling2D(),
                layers.UnitNormDense(3),
            ]
        )
        images = self.normal(5, 4, 6, 2)
        ((found, _),) = iterate_batches(model, images, None, 8)
        self.assertAllClose(found, images)
        with self.assertRaisesRegex(ValueError, "batch axis"):
            list(iterate_batches(model, images[0], None, 8))
