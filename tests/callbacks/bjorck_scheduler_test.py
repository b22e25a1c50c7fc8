import keras
import numpy as np

from keras_lip import callbacks
from keras_lip import layers
from keras_lip import models
from keras_lip.parametrizations import Bjorck
from tests.callbacks.step_recorder import StepRecorder
from tests.lipschitz_test_case import LipschitzTestCase


def bjorck(matrix, iterations):
    """The kernel in float64, of a matrix with more rows than columns."""
    matrix = matrix.astype("float64")
    gram = np.abs(matrix.T @ matrix)
    matrix = matrix / np.sqrt(gram.sum(axis=1))
    for _ in range(iterations):
        matrix = 1.5 * matrix - 0.5 * matrix @ matrix.T @ matrix
    return matrix


class BjorckSchedulerTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.kernel = self.normal(5, 3)
        self.x, self.y = self.normal(8, 5), self.normal(8, 3)

    def make_model(self):
        layer = layers.OrthogonalDense(3, Bjorck(15), use_bias=False)
        model = models.LipschitzSequential([keras.Input((5,)), layer])
        layer.free_kernel.assign(self.kernel)
        # The weights stay: outputs differ by the iterations alone.
        model.compile(keras.optimizers.SGD(0.0), "mse")
        return model

    def fit(self, model, *used, **kwargs):
        return model.fit(
            self.x,
            self.y,
            validation_data=(self.x[:3], self.y[:3]),
            callbacks=list(used),
            verbose=0,
            **kwargs,
        ).history

    def loss(self, iterations, count):
        outputs = self.x[:count] @ bjorck(self.kernel, iterations)
        return np.square(outputs - self.y[:count]).mean()

    def test_losses_are_those_of_the_iterations_of_the_epoch(self):
        model = self.make_model()
        model.predict(self.x, verbose=0)
        schedule = [15, 1, 1, 4]
        recorder = StepRecorder()
        scheduler = callbacks.BjorckScheduler(lambda epoch: schedule[epoch])
        history = self.fit(model, scheduler, recorder, epochs=4)
        self.assertEqual(history["bjorck_iterations"], schedule)
        self.assertGreater(abs(self.loss(1, 8) - self.loss(4, 8)), 1e-2)
        for key, count in (("loss", 8), ("val_loss", 3)):
            expected = [self.loss(number, count) for number in schedule]
            self.assertAllClose(history[key], expected, rtol=1e-5)
        # Steps were made anew where the value changed, and nowhere else.
        self.assertEqual(recorder.renewed, [False, True, False, True])
        # The last number stays, in what was compiled before as well.
        self.assertAllClose(
            model.predict(self.x, verbose=0),
            self.x @ bjorck(self.kernel, 4),
            atol=1e-5,
        )

    def test_resumed_training_goes_on_and_the_last_number_is_saved(self):
        scheduler = callbacks.BjorckScheduler(lambda epoch: 2 + epoch)
        model = self.make_model()
        self.fit(model, scheduler, epochs=1)
        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertEqual(loaded.layers[0].parametrization.iterations, 2)
        history = self.fit(loaded, scheduler, epochs=5, initial_epoch=4)
        self.assertEqual(history["bjorck_iterations"], [6])
        self.assertAllClose(history["loss"], [self.loss(6, 8)], rtol=1e-5)

    def test_shared_instances_and_nested_models_are_set(self):
        shared, own = Bjorck(15), Bjorck(15)
        inner = keras.Sequential(
            [
                keras.Input((5,)),
                layers.OrthogonalDense(5, parametrization=shared),
                layers.OrthogonalDense(5, parametrization="cayley"),
                keras.Sequential(
                    [layers.OrthogonalDense(5, parametrization=own)]
                ),
            ]
        )
        outer = layers.OrthogonalDense(3, parametrization=shared)
        model = keras.Sequential([keras.Input((5,)), inner, outer])
        model.compile("sgd", "mse")
        self.fit(model, callbacks.BjorckScheduler(lambda epoch: 7))
        self.assertEqual([shared.iterations, own.iterations], [7, 7])

    def test_frozen_layers_keep_their_iterations(self):
        shared, own = Bjorck(15), Bjorck(15)
        first, second = (
            layers.OrthogonalDense(5, parametrization=shared) for _ in range(2)
        )
        inner = keras.Sequential(
            [layers.OrthogonalDense(5, parametrization=own)]
        )
        last = layers.OrthogonalDense(3, parametrization=shared)
        model = keras.Sequential(
            [keras.Input((5,)), first, inner, second, last]
        )
        first.trainable = inner.trainable = False
        model.compile("sgd", "mse")
        self.fit(model, callbacks.BjorckScheduler(lambda epoch: 7))
        self.assertEqual([shared.iterations, own.iterations], [15, 15])
        self.assertIs(first.parametrization, shared)
        self.assertEqual(second.parametrization.iterations, 7)
        self.assertEqual(last.parametrization.iterations, 7)

    def test_model_that_is_all_frozen_is_left_alone(self):
        frozen = layers.OrthogonalDense(5, parametrization="bjorck")
        model = keras.Sequential(
            [keras.Input((5,)), frozen, keras.layers.Dense(1)]
        )
        frozen.trainable = False
        model.compile("sgd", "mse")
        before = frozen.parametrization.iterations
        scheduler = callbacks.BjorckScheduler(lambda epoch: before + 3)
        x = self.normal(2, 5)
        model.fit(x, x[:, :1], callbacks=[scheduler], verbose=0)
        self.assertEqual(frozen.parametrization.iterations, before)

    def test_bad_input_is_refused(self):
        with self.assertRaisesRegex(TypeError, "`schedule` must be a function"):
            callbacks.BjorckScheduler(3)
        for value in (0, 2.5, None):
            scheduler = callbacks.BjorckScheduler(lambda epoch, v=value: v)
            with self.assertRaisesRegex(ValueError, "`iterations` must be"):
                self.fit(self.make_model(), scheduler)
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
        model.compile("sgd", "mse")
        scheduler = callbacks.BjorckScheduler(lambda epoch: 3)
        with self.assertRaisesRegex(ValueError, "is parametrized by"):
            self.fit(model, scheduler)
