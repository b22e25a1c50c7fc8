import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import autodiff
from keras_lip import layers
from keras_lip import losses
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

LABELS = np.array([0, 2, 1, 1, 0])


class CurvatureCrossentropyTest(LipschitzTestCase):
    def make_head(self, scale=1.0):
        head = layers.CurvatureHead(3, hidden_units=6)
        head.build((None, 4))
        for weight in head.weights:
            weight.assign(self.normal(*weight.shape, scale=scale))
        return head

    def plain_losses(self, head, features):
        plain = losses.TemperatureSparseCategoricalCrossentropy(reduction=None)
        return to_numpy(plain(LABELS, head(features)))

    def test_without_perturbation_it_is_the_crossentropy(self):
        head, x = self.make_head(), self.normal(5, 4)
        loss = losses.CurvatureCrossentropy(head, 0.0, reduction=None)
        values = loss(LABELS, x)
        self.assertAllClose(values, self.plain_losses(head, x), 1e-5, 1e-5)

    def test_it_is_the_crossentropy_at_the_perturbed_features(self):
        head, x = self.make_head(), self.normal(5, 4)
        loss = losses.CurvatureCrossentropy(head, 0.3, reduction=None, steps=2)
        rows = ops.convert_to_tensor(np.eye(3, dtype="float32")[LABELS])
        change = to_numpy(loss.perturb(rows, ops.convert_to_tensor(x)))
        self.assertAllClose(
            np.linalg.norm(change, axis=1), np.full(5, 0.3), 0, 1e-5
        )
        expected = self.plain_losses(head, x + change)
        for labels in (LABELS, LABELS[:, None], np.eye(3)[LABELS]):
            self.assertAllClose(loss(labels, x), expected, 1e-5, 1e-5)
        self.assertAllClose(loss.call(LABELS, x), expected, 1e-5, 1e-5)
        self.assertTrue((expected > self.plain_losses(head, x)).all())
        weights = np.array([0, 1, 2, 0, 3.0])
        weighted = loss(LABELS, x, weights)
        self.assertAllClose(weighted, weights * expected, 1e-5, 1e-5)

    def test_perturbation_goes_up_the_gradient(self):
        head, x = self.make_head(), ops.convert_to_tensor(self.normal(5, 4))
        rows = ops.convert_to_tensor(np.eye(3, dtype="float32")[LABELS])

        def crossentropy(features):
            logits = head(features)
            return ops.categorical_crossentropy(rows, logits, from_logits=True)

        gradient = to_numpy(autodiff.gradient(crossentropy, x))
        direction = gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
        loss = losses.CurvatureCrossentropy(head, 0.5)
        first = to_numpy(loss.perturb(rows, x))
        self.assertAllClose(first, 0.5 * direction, 1e-5, 1e-5)
        # The second step is in the direction of the gradient after the first.
        again = losses.CurvatureCrossentropy(head, 0.5, steps=2)
        moved = autodiff.gradient(crossentropy, ops.add(x, first))
        direction = to_numpy(moved)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        second = to_numpy(again.perturb(rows, x))
        self.assertAllClose(second, 0.5 * direction, 1e-5, 1e-5)
        self.assertGreater(np.abs(second - first).max(), 1e-3)

    def test_samples_that_are_certain_are_perturbed_as_well(self):
        head = self.make_head()
        head.bias.assign([200.0, 0.0, 0.0])
        rows = ops.convert_to_tensor(np.eye(3, dtype="float32")[[0] * 5])
        loss = losses.CurvatureCrossentropy(head, 0.3)
        features = ops.convert_to_tensor(self.normal(5, 4))
        change = to_numpy(loss.perturb(rows, features))
        self.assertAllClose(
            np.linalg.norm(change, axis=1), np.full(5, 0.3), 0, 1e-5
        )

    def test_features_get_the_gradient_at_the_perturbed_features(self):
        head, x = self.make_head(), ops.convert_to_tensor(self.normal(5, 4))
        rows = ops.convert_to_tensor(np.eye(3, dtype="float32")[LABELS])
        loss = losses.CurvatureCrossentropy(head, 0.5, reduction="sum")
        moved = x + loss.perturb(rows, x)
        plain = losses.CurvatureCrossentropy(head, 0.0, reduction="sum")
        self.assertAllClose(
            autodiff.gradient(lambda f: loss(rows, f), x),
            autodiff.gradient(lambda f: plain(rows, f), moved),
            1e-5,
            1e-5,
        )

    @parameterized.parameters(1e-20, 1.0, 1e10)
    def test_gradients_are_finite(self, scale):
        x = ops.convert_to_tensor(self.normal(5, 4, scale=scale))
        heads = self.make_head(), self.make_head(0.0)
        for head in heads:
            loss = losses.CurvatureCrossentropy(head, 0.5, 1.0)
            slope = autodiff.gradient(lambda f, loss=loss: loss(LABELS, f), x)
            self.assertTrue(np.isfinite(to_numpy(slope)).all())

    def test_curvature_is_that_of_the_widest_ranges(self):
        head, x = self.make_head(), self.normal(5, 4)
        inner, outer = to_numpy(head.hidden_kernel), to_numpy(head.kernel)
        ranges = outer.max(axis=1) - outer.min(axis=1)
        exact = np.linalg.norm(inner * np.sqrt(ranges), 2) ** 2 / 4
        loss = losses.CurvatureCrossentropy(head, 0.1, 2.0, reduction=None)
        self.assertAllClose(loss.curvature(), exact, 0, 0.05)
        self.assertLessEqual(to_numpy(loss.curvature()), exact * (1 + 1e-5))
        without = losses.CurvatureCrossentropy(head, 0.1, reduction=None)
        added = to_numpy(loss(LABELS, x)) - to_numpy(without(LABELS, x))
        self.assertAllClose(
            added, 2 * np.full(5, to_numpy(loss.curvature())), 0, 1e-4
        )

    def make_model(self, **kwargs):
        inputs = keras.Input((2,))
        features = layers.OrthogonalDense(4, name="trunk")(inputs)
        head = layers.CurvatureHead(2, hidden_units=5, name="head")
        outputs = {"features": features, "logits": head(features)}
        model = keras.Model(inputs, outputs)
        loss = losses.CurvatureCrossentropy(head, 0.2, 0.01, **kwargs)
        model.compile(
            keras.optimizers.SGD(0.1),
            loss={"features": loss},
            metrics={"logits": ["sparse_categorical_accuracy"]},
        )
        labels = np.arange(32) % 2
        x = self.normal(32, 2) + 3 * labels[:, None].astype("float32")
        return model, x, {"features": labels, "logits": labels}

    def test_fit_lowers_the_loss_and_moves_head_and_trunk(self):
        model, x, y = self.make_model()
        before = [to_numpy(w).copy() for w in model.trainable_weights]
        self.assertLen(before, 6)
        history = model.fit(x, y, epochs=30, verbose=0).history
        self.assertLess(history["loss"][-1], 0.8 * history["loss"][0])
        self.assertGreater(
            history["logits_sparse_categorical_accuracy"][-1], 0.9
        )
        for old, weight in zip(before, model.trainable_weights, strict=True):
            self.assertGreater(np.abs(to_numpy(weight) - old).max(), 1e-4)

    def test_curvature_alone_is_trained_down(self):
        model, x, y = self.make_model()
        loss = losses.CurvatureCrossentropy(model.get_layer("head"), 0.0, 100.0)
        model.compile(keras.optimizers.SGD(1e-3), loss={"features": loss})
        before = to_numpy(loss.curvature())
        model.fit(x, y, epochs=2, verbose=0)
        self.assertLess(to_numpy(loss.curvature()), 0.9 * before)

    def test_loaded_model_predicts_but_trains_no_other_head(self):
        model, x, y = self.make_model()
        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertAllClose(loaded(x)["logits"], model(x)["logits"])
        loss = loaded.loss["features"]
        self.assertEqual(loss.radius, 0.2)
        if loss.head is not loaded.get_layer("head"):
            with self.assertRaisesRegex(ValueError, "compile the model again"):
                loaded.fit(x, y, verbose=0)
        # It is saved again all the same, and compiled again it trains.
        loaded.save(path)
        loss = losses.CurvatureCrossentropy(loaded.get_layer("head"), 0.2, 0.01)
        loaded.compile(keras.optimizers.SGD(0.1), loss={"features": loss})
        expected = model.evaluate(x, y, verbose=0)[0]
        value = np.ravel(loaded.evaluate(x, y, verbose=0))[0]
        self.assertAllClose(value, expected, 1e-5, 1e-5)

    def test_config_keeps_every_argument(self):
        loss = losses.CurvatureCrossentropy(
            self.make_head(),
            0.5,
            0.25,
            steps=3,
            reduction="sum",
            name="mine",
            dtype="bfloat16",
        )
        self.run_serialization_test(loss)
        restored = losses.get(losses.serialize(loss))
        self.assertEqual(restored.dtype, "bfloat16")
        self.assertEqual((restored.steps, restored.radius), (3, 0.5))
        self.assertEqual(restored.head.hidden_units, 6)
        with self.assertRaisesRegex(ValueError, "compile the model again"):
            restored(LABELS, self.normal(5, 4))

    def test_losses_in_low_precision_are_close(self):
        head, x = self.make_head(), self.normal(5, 4)
        expected = losses.CurvatureCrossentropy(head, 0.1)(LABELS, x)
        loss = losses.CurvatureCrossentropy(head, 0.1, dtype="bfloat16")
        self.assertAllClose(loss(LABELS, x), expected, 0, 0.05)

    def test_labels_of_no_class_are_refused(self):
        loss = losses.CurvatureCrossentropy(self.make_head(), 0.1)
        with self.assertRaisesRegex(ValueError, "Labels must be integers"):
            loss(LABELS + 1, self.normal(5, 4))

    def test_labels_of_no_class_are_never_trained_on(self):
        model, x, y = self.make_model()
        wrong = {name: labels + 1 for name, labels in y.items()}
        if keras.backend.backend() == "torch":
            with self.assertRaisesRegex(ValueError, "Labels must be integers"):
                model.fit(x, wrong, verbose=0)
        else:
            history = model.fit(x, wrong, verbose=0).history
            self.assertTrue(np.isnan(history["loss"]).all())

    def test_invalid_arguments_are_refused(self):
        head = self.make_head()
        with self.assertRaisesRegex(TypeError, "`head` must be the `keras_lip"):
            losses.CurvatureCrossentropy(keras.layers.Dense(3), 0.1)
        with self.assertRaisesRegex(TypeError, "`head` must be the `keras_lip"):
            losses.CurvatureCrossentropy(layers.SLLDense(hidden_units=3), 0.1)
        with self.assertRaisesRegex(ValueError, "must have two units or more"):
            losses.CurvatureCrossentropy(layers.CurvatureHead(1, 4), 0.1)
        for kwargs, name in (
            ({"radius": -1.0}, "radius"),
            ({"radius": 0.1, "curvature_weight": -1.0}, "curvature_weight"),
            ({"radius": 0.1, "steps": 0}, "steps"),
        ):
            with self.assertRaisesRegex(ValueError, f"`{name}` must be a"):
                losses.CurvatureCrossentropy(head, **kwargs)
        loss = losses.CurvatureCrossentropy(head, 0.1)
        for shape in ((5, 3), (5,), (5, 1, 4)):
            with self.assertRaisesRegex(
                ValueError, r"of shape \(batch, 4\), not its"
            ):
                loss(LABELS, np.zeros(shape))
