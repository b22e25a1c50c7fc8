import warnings

import keras
import numpy as np

from keras_lip import callbacks
from keras_lip import layers
from keras_lip import losses
from keras_lip import models
from tests.callbacks.step_recorder import StepRecorder
from tests.lipschitz_test_case import LipschitzTestCase


class EpsilonSchedulerTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.x = self.normal(12, 4)
        self.y = np.array([0, 1, 2] * 4)

    def make_model(self, loss, **kwargs):
        model = models.LipschitzSequential(
            [
                keras.Input((4,)),
                layers.LipschitzResidualDense(4),
                layers.UnitNormDense(3),
            ]
        )
        # The weights stay: losses differ by epsilon alone.
        model.compile(keras.optimizers.SGD(0.0), loss, **kwargs)
        return model

    def fit(self, model, *used, **kwargs):
        return model.fit(
            self.x,
            self.y,
            batch_size=4,
            shuffle=False,
            verbose=0,
            callbacks=list(used),
            **kwargs,
        ).history

    def test_losses_are_those_of_the_epsilon_of_each_batch(self):
        loss = losses.EMMA(9.0)
        model = self.make_model(loss)
        model.fit(self.x, self.y, epochs=20, verbose=0)
        asked = []

        def schedule(epoch):
            asked.append(epoch)
            return 0.1 + epoch

        recorder = StepRecorder()
        scheduler = callbacks.EpsilonScheduler(schedule)
        history = self.fit(model, scheduler, recorder, epochs=2)
        expected = [0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3]
        self.assertAllClose(asked, expected)
        self.assertAllClose(history["epsilon"], [0.1 + 2 / 3, 0.1 + 5 / 3])
        self.assertAllClose(loss.epsilon, 0.1 + 5 / 3)
        for epoch in range(2):
            values = []
            for batch in range(3):
                loss.epsilon = 0.1 + epoch + batch / 3
                part = slice(4 * batch, 4 * batch + 4)
                values.append(
                    model.evaluate(self.x[part], self.y[part], verbose=0)
                )
            self.assertAllClose(
                history["loss"][epoch], np.mean(values), 1e-4, 1e-4
            )
        self.assertGreater(history["loss"][1], history["loss"][0] + 1e-2)

    def test_validation_is_under_the_last_value(self):
        loss = losses.EMMA(9.0)
        model = self.make_model(loss)
        model.fit(self.x, self.y, epochs=20, verbose=0)
        scheduler = callbacks.EpsilonScheduler(lambda epoch: 0.5 * epoch)
        history = self.fit(
            model, scheduler, epochs=2, validation_data=(self.x, self.y)
        )
        loss.epsilon = 0.5 * 5 / 3
        expected = model.evaluate(self.x, self.y, verbose=0)
        self.assertAllClose(history["val_loss"][1], expected, 1e-4, 1e-4)

    def test_training_goes_on_where_it_was(self):
        loss = losses.GloRo(9.0)
        model = self.make_model(loss)
        scheduler = callbacks.EpsilonScheduler(lambda epoch: 0.1 * epoch)
        self.fit(model, scheduler, initial_epoch=3, epochs=4)
        self.assertAllClose(loss.epsilon, 0.1 * (3 + 2 / 3))

    def test_epochs_of_unknown_length_have_one_value(self):
        loss = losses.EMMA(9.0)
        model = self.make_model(loss)

        def batches():
            yield self.x[:4], self.y[:4]
            yield self.x[4:8], self.y[4:8]

        scheduler = callbacks.EpsilonScheduler(lambda epoch: 0.25 + epoch)
        with warnings.catch_warnings():
            # That it ends comes as a surprise to Keras.
            warnings.simplefilter("ignore")
            model.fit(
                batches(), callbacks=[scheduler], shuffle=False, verbose=0
            )
        self.assertEqual(loss.epsilon, 0.25)

    def test_every_loss_is_set(self):
        inputs = keras.Input((4,))
        x = layers.OrthogonalDense(4)(inputs)
        outputs = {n: layers.UnitNormDense(3, name=n)(x) for n in "ab"}
        model = models.LipschitzModel(inputs, outputs)
        given = {"a": losses.EMMA(9.0), "b": losses.LogitAnnealing(9.0)}
        model.compile("sgd", given)
        scheduler = callbacks.EpsilonScheduler(lambda epoch: 0.5)
        y = {"a": self.y, "b": self.y}
        model.fit(self.x, y, callbacks=[scheduler], verbose=0)
        self.assertEqual([given[n].epsilon for n in "ab"], [0.5, 0.5])

    def test_loss_scheduler_sets_epsilon_as_well(self):
        loss = losses.EMMA(9.0)
        model = self.make_model(loss)
        scheduler = callbacks.LossScheduler([0.5, 0.25].__getitem__, "epsilon")
        history = self.fit(model, scheduler, epochs=2)
        self.assertEqual(history["epsilon"], [0.5, 0.25])
        self.assertEqual(loss.epsilon, 0.25)

    def test_what_is_no_schedule_is_refused(self):
        with self.assertRaisesRegex(TypeError, "must be a function"):
            callbacks.EpsilonScheduler(0.5)
        model = self.make_model(losses.EMMA(0.1))
        with self.assertRaisesRegex(ValueError, "`epsilon`"):
            self.fit(model, callbacks.EpsilonScheduler(lambda epoch: -1.0))

    def test_models_without_a_loss_of_epsilon_are_refused(self):
        scheduler = callbacks.EpsilonScheduler(lambda epoch: 0.5)
        for loss in ("emma", losses.CertificateRegularization()):
            if loss == "emma":
                self.fit(self.make_model(loss), scheduler)
                continue
            with self.assertRaisesRegex(ValueError, "has an epsilon. Compile"):
                self.fit(self.make_model(loss), scheduler)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        model.compile("sgd", losses.EMMA(0.1, lipschitz_bound=1.0))
        with self.assertRaisesRegex(ValueError, "LossScheduler"):
            self.fit(model, scheduler)
