import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase


class TrainingDataTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.x, self.y = self.normal(12, 4), np.arange(12) % 3

    def make_model(self, units=3, loss="multiclass_hkr", **kwargs):
        model = models.LipschitzSequential(
            [
                keras.Input((4,)),
                layers.OrthogonalDense(8),
                layers.UnitNormDense(units),
            ]
        )
        model.compile("adam", loss, **kwargs)
        return model

    def assertRefused(self, model, message, x, y=None, **kwargs):
        before = model.get_weights()
        with self.assertRaisesRegex(ValueError, message):
            model.fit(x, y, batch_size=4, verbose=0, **kwargs)
        for found, expected in zip(model.get_weights(), before, strict=True):
            self.assertTrue(np.array_equal(found, expected))

    @parameterized.parameters(
        ("from_one", "integers from 0 to 2.*3"),
        ("strings", "Labels must be numbers.*np.unique"),
        ("several_ones", "single 1 in each row"),
        ("fractions", "integers from 0 to 2"),
    )
    def test_wrong_labels_are_named(self, kind, message):
        labels = {
            "from_one": self.y + 1,
            "strings": np.array(["a", "b", "c"])[self.y],
            "several_ones": np.minimum(np.eye(3)[self.y] + np.eye(3)[0], 1),
            "fractions": self.y + 0.5,
        }[kind]
        self.assertRefused(self.make_model(), message, self.x, labels)

    def test_wrong_labels_of_a_single_output_are_named(self):
        model = self.make_model(1, "hkr")
        self.assertRefused(model, "0 and 1, or -1 and 1", self.x, self.y)

    def test_wrong_labels_of_a_validation_are_named(self):
        self.assertRefused(
            self.make_model(),
            "integers from 0 to 2",
            self.x,
            self.y,
            validation_data=(self.x, self.y + 1),
        )

    def test_labels_of_an_output_by_name_are_named(self):
        inputs = keras.Input((4,))
        features = layers.OrthogonalDense(5)(inputs)
        logits = layers.UnitNormDense(3)(features)
        model = models.LipschitzModel(inputs, {"a": features, "b": logits})
        model.compile("adam", {"b": "multiclass_hkr"})
        labels = {"a": self.y, "b": self.y + 1}
        self.assertRefused(model, "integers from 0 to 2", self.x, labels)

    def test_inputs_that_are_not_finite_are_named(self):
        self.x[5, 2] = np.nan
        self.assertRefused(self.make_model(), r"x\[5\]", self.x, self.y)

    def test_inputs_are_looked_at_whatever_the_loss(self):
        self.x[3, 1] = -np.inf
        model = self.make_model(loss="sparse_categorical_crossentropy")
        self.assertRefused(model, r"x\[3\]", self.x, self.y)

    def test_wrong_labels_of_an_evaluation_are_named(self):
        with self.assertRaisesRegex(ValueError, "integers from 0 to 2"):
            self.make_model().evaluate(self.x, self.y + 1, verbose=0)

    def test_missing_data_is_named(self):
        self.assertRefused(self.make_model(), "`y` must be given", self.x)
        self.assertRefused(self.make_model(), "`x` must be given", None)

    def test_model_that_is_not_compiled_is_named(self):
        model = models.LipschitzSequential(
            [keras.Input((4,)), layers.UnitNormDense(3)]
        )
        with self.assertRaisesRegex(ValueError, "not compiled. Call"):
            model.evaluate(self.x, self.y)
        with self.assertRaisesRegex(ValueError, "must call `compile"):
            model.fit(self.x, self.y)

    def test_losses_of_keras_keep_their_labels(self):
        model = self.make_model(loss="mse")
        model.fit(self.x, self.normal(12, 3), verbose=0)

    def test_data_set_of_wrong_labels_stops_at_once(self):
        class Batches(keras.utils.PyDataset):
            steps = 0

            def __len__(self):
                return 9

            def __getitem__(batches, index):
                batches.steps += 1
                return self.x[:4], self.y[:4] + 1

        model = self.make_model()
        with self.assertRaisesRegex(ValueError, "[Ll]abels must be"):
            model.fit(Batches(), verbose=0)
        for weight in model.get_weights():
            self.assertTrue(np.isfinite(weight).all())

    def test_right_data_is_trained_on(self):
        for labels in (self.y, self.y[:, None], np.eye(3)[self.y]):
            self.make_model().fit(self.x, labels, verbose=0)
