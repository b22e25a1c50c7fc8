import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import callbacks
from keras_lip import layers
from keras_lip import losses
from keras_lip import models
from tests.callbacks.step_recorder import StepRecorder
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class LossSchedulerTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.x = self.normal(12, 4)
        self.y = np.array([0, 1] * 6)

    def make_model(self, loss, units=1):
        model = models.LipschitzSequential(
            [keras.Input((4,)), layers.OrthogonalDense(units)]
        )
        # The weights stay: losses differ by the parameter alone.
        model.compile(keras.optimizers.SGD(0.0), loss)
        return model

    def fit(self, model, *used, **kwargs):
        data = {"x": self.x, "y": self.y, "batch_size": 12, "verbose": 0}
        validation = self.x[:5], self.y[:5]
        return model.fit(
            **data, validation_data=validation, callbacks=used, **kwargs
        ).history

    def binary_loss(self, model, alpha, count):
        scores = to_numpy(model(self.x[:count])).astype("float64")[:, 0]
        positive = self.y[:count] > 0
        hinge = np.maximum(0, 1 - np.where(positive, scores, -scores)).mean()
        gap = scores[positive].mean() - scores[~positive].mean()
        return alpha * hinge - gap

    def test_radius_of_a_curvature_head_is_scheduled(self):
        head = layers.CurvatureHead(2, hidden_units=3)
        head.build((None, 4))
        loss = losses.CurvatureCrossentropy(head, 0.5)
        model = self.make_model(loss, units=4)
        scheduler = callbacks.LossScheduler([0.0, 2.0].__getitem__, "radius")
        values = self.fit(model, scheduler, epochs=2)["loss"]
        for radius, value in zip((0.0, 2.0), values, strict=True):
            loss = losses.CurvatureCrossentropy(head, radius)
            expected = loss(self.y, model(self.x))
            self.assertAllClose(value, expected, rtol=1e-5, atol=1e-5)

    def test_losses_are_those_under_the_value_of_the_epoch(self):
        model = self.make_model(losses.HKR(alpha=3.0))
        model.evaluate(self.x, self.y, verbose=0)
        alphas = [3.0, 1.0, 1.0, 50.0]
        recorder = StepRecorder()
        scheduler = callbacks.LossScheduler(lambda epoch: alphas[epoch])
        history = self.fit(model, scheduler, recorder, epochs=4)
        self.assertAllClose(history["alpha"], alphas)
        for key, count in (("loss", 12), ("val_loss", 5)):
            expected = [self.binary_loss(model, a, count) for a in alphas]
            self.assertAllClose(history[key], expected, rtol=1e-5, atol=1e-5)
        # Steps were made anew where the value changed, and nowhere else.
        self.assertEqual(recorder.renewed, [False, True, False, True])
        # The last value stays.
        self.assertEqual(model.loss.alpha, 50.0)
        self.assertAllClose(
            model.evaluate(self.x, self.y, verbose=0),
            self.binary_loss(model, 50.0, 12),
            rtol=1e-5,
        )

    def test_resumed_training_goes_on_where_it_was(self):
        alphas = [1.0, 5.0, 9.0]
        scheduler = callbacks.LossScheduler(lambda epoch: alphas[epoch])
        model = self.make_model(losses.HKR())
        self.fit(model, scheduler, epochs=2)
        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertEqual(loaded.loss.alpha, 5.0)
        for resumed in (model, loaded):
            history = self.fit(resumed, scheduler, epochs=3, initial_epoch=2)
            self.assertAllClose(history["alpha"], [9.0])
            expected = self.binary_loss(model, 9.0, 12)
            self.assertAllClose(history["loss"], [expected], rtol=1e-5)

    @parameterized.parameters(False, True)
    def test_gradients_follow_the_value(self, run_eagerly):
        # With a temperature of 1e-6 there is next to no gradient.
        loss = losses.TemperatureSparseCategoricalCrossentropy(1e-6)
        model = self.make_model(loss, units=2)
        model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=run_eagerly)
        scheduler = callbacks.LossScheduler(
            lambda epoch: (1e-6, 4.0)[epoch], parameter="temperature"
        )
        start = to_numpy(model.layers[0].free_kernel).copy()
        for epoch, moves in ((0, False), (1, True)):
            self.fit(model, scheduler, epochs=epoch + 1, initial_epoch=epoch)
            moved = np.abs(to_numpy(model.layers[0].free_kernel) - start).max()
            self.assertEqual(moved > 1e-3, moves)

    def test_every_loss_of_several_outputs_is_set(self):
        inputs = keras.Input((4,))
        outputs = {
            name: layers.OrthogonalDense(1, name=name)(inputs)
            for name in ("a", "b", "c")
        }
        model = keras.Model(inputs, outputs)
        both = {"a": losses.HKR(), "b": losses.HKR(), "c": "mse"}
        model.compile("sgd", both)
        data = {name: self.y for name in both}
        scheduler = callbacks.LossScheduler(lambda epoch: np.float32(7))
        model.fit(self.x, data, callbacks=[scheduler], verbose=0)
        for loss in (both["a"], both["b"]):
            self.assertEqual(loss.alpha, 7.0)
            # As in the constructor; a config has no NumPy numbers.
            self.assertIs(type(loss.alpha), float)

    def test_parameter_that_is_no_name_is_refused(self):
        with self.assertRaisesRegex(
            TypeError,
            "`parameter` must be the name .* Received: parameter=None",
        ):
            callbacks.LossScheduler(lambda epoch: 1.0, None)

    def test_bad_input_is_refused(self):
        with self.assertRaisesRegex(TypeError, "`schedule` must be a function"):
            callbacks.LossScheduler(3.0)
        model = self.make_model(losses.HKR())
        for value in (-1.0, "3", None):
            scheduler = callbacks.LossScheduler(lambda epoch, v=value: v)
            with self.assertRaisesRegex(ValueError, "`alpha` must be"):
                self.fit(model, scheduler)
        for loss, parameter in (
            (losses.HKR(), "temperature"),
            (losses.HKR(), "reduction"),
            ("mse", "alpha"),
        ):
            scheduler = callbacks.LossScheduler(lambda epoch: 1.0, parameter)
            with self.assertRaisesRegex(ValueError, f"number `{parameter}`"):
                self.fit(self.make_model(loss), scheduler)
