from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import bounds
from keras_lip import certificates
from keras_lip import layers
from keras_lip import losses
from keras_lip import metrics
from keras_lip import models
from keras_lip.metrics import certified_metric
from keras_lip.metrics.summary import summarize
from keras_lip.program.freezing.registry import RULES
from tests.lipschitz_test_case import to_numpy
from tests.metrics.certified_metric_test_case import EPSILON
from tests.metrics.certified_metric_test_case import CertifiedMetricTestCase


class Change(keras.callbacks.Callback):
    """Changes the kernel of the last layer when it is told to."""

    def __init__(self, kernels, **when):
        super().__init__()
        self.kernels, self.when = list(kernels), when

    def change(self, name, batch=0):
        if self.when.get(name) == batch:
            self.model.layers[-1].kernel.assign(self.kernels.pop(0))

    def on_test_begin(self, logs=None):
        self.change("test_begin")

    def on_test_batch_begin(self, batch, logs=None):
        self.change("batch_begin", batch)

    def on_test_batch_end(self, batch, logs=None):
        self.change("batch_end", batch)

    def on_test_end(self, logs=None):
        self.change("test_end")


class CertifiedMetricTest(CertifiedMetricTestCase):
    def test_constants_are_rounded_up(self):
        metric = metrics.CertifiedAccuracy(EPSILON)
        model = self.make_model(metric)
        exact = self.pair_bounds(model)
        found = self.constants(model, metric)
        self.assertTrue((found >= exact).all())
        self.assertAllClose(found, exact, 1e-40, 2e-7)

    def test_weights_that_a_callback_sets_at_the_start_are_proven(self):
        model = self.make_model()
        self.assertEvaluated(model)
        kernel = 0.3 * self.normal(4, 3)
        value = self.evaluate(model, callbacks=[Change([kernel], test_begin=0)])
        self.assertAllClose(to_numpy(model.layers[-1].kernel), kernel)
        self.assertAllClose(value, self.certified(model))

    def test_weights_may_change_once_an_evaluation_is_over(self):
        model = self.make_model()
        expected = self.certified(model)
        kernel = 0.3 * self.normal(4, 3)
        value = self.evaluate(model, callbacks=Change([kernel], test_end=0))
        self.assertAllClose(value, expected)
        self.assertAllClose(to_numpy(model.layers[-1].kernel), kernel)
        self.assertEvaluated(model)

    @parameterized.parameters("batch_begin", "batch_end")
    def test_weights_that_change_during_an_evaluation_are_refused(self, name):
        model = self.make_model()
        change = Change([np.ones((4, 3))], **{name: 1})
        with self.assertRaisesRegex(
            ValueError, "'lipschitz_sequential.*' changed during an evaluation"
        ):
            self.evaluate(model, callbacks=[change])
        self.assertEvaluated(self.make_model())

    def test_weights_that_change_there_and_back_are_refused(self):
        model = self.make_model()
        before = to_numpy(model.layers[-1].kernel).copy()
        kernels = [np.ones((4, 3)), before]
        change = Change(kernels, batch_begin=1, batch_end=1)
        with self.assertRaisesRegex(ValueError, "changed during an evaluation"):
            self.evaluate(model, callbacks=[change])

    def test_lambda_that_changes_weights_is_refused(self):
        model = self.make_model()
        before = to_numpy(model.layers[-1].kernel).copy()
        kernels = [before, np.ones((4, 3))]
        change = keras.callbacks.LambdaCallback(
            on_test_batch_begin=lambda batch, logs: (
                batch < 2 and model.layers[-1].kernel.assign(kernels.pop())
            )
        )
        with self.assertRaisesRegex(ValueError, "changed during an evaluation"):
            self.evaluate(model, callbacks=[change])

    def test_validation_of_a_fit_is_refused_as_well(self):
        model = self.make_model()
        change = Change([np.ones((4, 3))], batch_end=1)
        with self.assertRaisesRegex(ValueError, "changed during an evaluation"):
            model.fit(
                self.x,
                self.y,
                batch_size=16,
                validation_data=(self.x, self.y),
                callbacks=[change],
                verbose=0,
            )

    def test_function_that_is_another_one_than_what_was_read_is_refused(self):
        call = layers.MaxMin.call
        with mock.patch.object(
            layers.MaxMin, "call", lambda layer, x: 3 * call(layer, x)
        ):
            model = self.make_model()
            with self.assertRaisesRegex(
                ValueError, "computes another function"
            ):
                self.evaluate(model)
            with self.assertRaisesRegex(
                ValueError, "computes another function"
            ):
                model.test_on_batch(self.x, self.y)

    @parameterized.parameters(True, False)
    def test_model_that_is_built_late_is_held_to_what_was_read(self, at_once):
        call = layers.MaxMin.call
        with mock.patch.object(
            layers.MaxMin, "call", lambda layer, x: 3 * call(layer, x)
        ):
            model = self.make_model(built=False)
            for message in ("was not built|another function", "another"):
                with self.assertRaisesRegex(ValueError, message):
                    if at_once:
                        model.test_on_batch(self.x, self.y)
                    else:
                        self.evaluate(model)

    @parameterized.parameters(True, False)
    def test_model_that_is_built_late_reports_no_zero(self, at_once):
        """It would be that of constants that nothing has proven."""
        model = self.make_model(built=False)
        try:
            value = (
                model.test_on_batch(self.x, self.y)[1]
                if at_once
                else self.evaluate(model)
            )
        except ValueError as error:
            self.assertIn("was not built when its evaluation", str(error))
        else:
            self.assertAllClose(value, self.certified(model))
        self.assertGreater(self.certified(model), 0.0)
        self.assertEvaluated(model)

    def test_settings_that_change_are_compiled_again(self):
        model = self.make_model()
        self.assertEvaluated(model)
        # What is compiled multiplies by two.
        model.layers[0].scale = 0.5
        model.layers[-1].kernel.assign(self.normal(4, 3))
        self.assertEvaluated(model)

    def test_radius_and_constant_may_be_assigned_between_evaluations(self):
        """Compiled steps would contain numbers of Python."""
        metric = metrics.CertifiedAccuracy(0.01)
        model = self.make_model(metric)
        report = certificates.certify(model, self.x, self.y)
        found = set()
        for epsilon in (0.01, 0.1, 0.3, 1.0):
            metric.epsilon = epsilon
            self.assertEqual(metric.get_config()["epsilon"], epsilon)
            found.add(round(self.evaluate(model), 6))
            expected = report.certified_accuracy(epsilon)
            self.assertAllClose(self.evaluate(model), expected)
        self.assertGreater(len(found), 2)
        with self.assertRaisesRegex(ValueError, "epsilon"):
            metric.epsilon = -1.0
        self.assertEqual(metric.epsilon, 1.0)

    def test_radius_of_a_callback_counts(self):
        """On JAX a training brings its own state of variables."""
        metric = metrics.CertifiedAccuracy(0.01)
        model = self.make_model(metric)

        def change(batch, logs):
            metric.epsilon = 0.3

        callback = keras.callbacks.LambdaCallback(on_train_batch_end=change)
        model.fit(self.x, self.y, verbose=0, callbacks=[callback])
        report = certificates.certify(model, self.x, self.y)
        expected = report.certified_accuracy(0.3)
        self.assertAllClose(self.evaluate(model), expected)
        self.assertGreater(report.certified_accuracy(0.01), expected)

    def test_given_constant_may_be_assigned_again(self):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        metric = metrics.CertifiedAccuracy(0.1, lipschitz_bound=1.0)
        model.compile("sgd", "mse", metrics=[metric])
        labels = np.eye(3)[self.y]
        values = []
        for bound in (1.0, 4.0, 1e6):
            metric.lipschitz_bound = bound
            fresh = metrics.CertifiedAccuracy(0.1, lipschitz_bound=bound)
            fresh.update_state(self.y, model.predict(self.x, verbose=0))
            values.append(model.evaluate(self.x, labels, verbose=0)[1])
            self.assertAllClose(values[-1], float(fresh.result()))
        self.assertGreater(values[0], values[-1])
        self.assertEqual(metric.get_config()["lipschitz_bound"], 1e6)
        for given in (metric, metrics.CertifiedAccuracy(0.1)):
            with self.assertRaises(ValueError):
                given.lipschitz_bound = -1.0
        with self.assertRaises(AttributeError):
            metric.norm = "linf"

    def make_sloped_model(self, slope):
        model = models.LipschitzSequential(
            [
                keras.Input((1,)),
                keras.layers.LeakyReLU(slope),
                keras.layers.Dense(2),
            ]
        )
        model.set_weights([np.array([[1.0, -1.0]]), np.zeros(2)])
        model.compile("sgd", "mse", metrics=[metrics.CertifiedAccuracy(0.5)])
        return model

    def test_settings_that_change_before_an_evaluation_are_proven(self):
        """No weight changes, but the constant grows by a hundred."""
        model = self.make_sloped_model(0.0)
        model.layers[0].negative_slope = 100.0
        x, y = np.array([[-0.01]], "float32"), np.array([[0.0, 1.0]])
        # The margin is two, and a change by 0.01 leads to a tie.
        (radius,) = certificates.certify(model, x, [1]).radius
        self.assertBetween(radius, 0.009, 0.01)
        self.assertEqual(model.evaluate(x, y, verbose=0)[1], 0.0)
        self.assertEqual(model.test_on_batch(x, y)[1], 0.0)

    def test_number_that_is_in_no_config_is_read_at_every_start(self):
        """What is compiled contains the old one, and is refused."""

        class Scale(keras.layers.Layer):
            factor = 1.0

            def call(self, inputs):
                return inputs * self.factor

        bounds.propagate_bound.register(Scale)(
            lambda layer, inputs: layer.factor * inputs
        )
        self.addCleanup(RULES.rules.pop, Scale)
        metric = metrics.CertifiedAccuracy(EPSILON)
        model = models.LipschitzSequential([keras.Input((4,)), Scale()])
        model.compile("sgd", losses.MulticlassHinge(), metrics=[metric])
        is_compiled = keras.backend.backend() != "torch"
        model.evaluate(np.eye(4), np.arange(4), verbose=0)
        for factor in (1.0, 3.0, 0.5):
            model.layers[0].factor = factor
            if factor != 1.0 and is_compiled:
                with self.assertRaisesRegex(ValueError, "compile the model"):
                    model.evaluate(np.eye(4), np.arange(4), verbose=0)
                continue
            found = self.constants(model, metric)
            self.assertAllClose(found[0, 1], np.sqrt(2.0) * factor, 1e-6)

    def test_slope_of_negative_inputs_that_changes_is_compiled(self):
        model = self.make_sloped_model(0.0)
        x, y = np.array([[-0.01]], "float32"), np.array([[0.0, 1.0]])
        model.evaluate(x, y, verbose=0)
        model.layers[0].negative_slope = 100.0
        self.assertEqual(model.evaluate(x, y, verbose=0)[1], 0.0)
        report = certificates.certify(model, x, [1])
        self.assertEqual(report.certified_accuracy(0.5), 0.0)

    def test_settings_that_change_during_an_evaluation_are_refused(self):
        model = self.make_sloped_model(0.0)

        def change(batch, logs):
            model.layers[0].negative_slope = 100.0

        callback = keras.callbacks.LambdaCallback(on_test_batch_end=change)
        with self.assertRaisesRegex(ValueError, "settings of a layer"):
            model.evaluate(
                np.full((4, 1), -0.01, "float32"),
                np.tile([[0.0, 1.0]], (4, 1)),
                batch_size=2,
                verbose=0,
                callbacks=[callback],
            )

    def test_constants_are_those_of_the_weights_and_not_of_training(self):
        # An epoch that leaves the weights as they were, but not the constants
        # that it estimates.
        metric = metrics.CertifiedAccuracy(EPSILON)
        model = self.make_model(metric, optimizer=keras.optimizers.SGD(0.0))
        kernel = np.ones((4, 3))
        kernel[0] += [0.0, 1e-4, 1.0]
        model.layers[-1].kernel.assign(kernel)
        exact = self.pair_bounds(model)
        for _ in range(2):
            found = self.constants(model, metric)
            self.assertTrue((found >= exact).all())
            model.fit(self.x, self.y, verbose=0)

    def test_constants_are_those_of_weights_that_are_set_back(self):
        metric = metrics.CertifiedAccuracy(EPSILON)
        model = self.make_model(metric)
        self.assertEvaluated(model)
        before = model.get_weights()
        # A head that hardly tells classes apart.
        model.layers[-1].kernel.assign(np.full((4, 3), 1e-3))
        model.train_on_batch(self.x, self.y)
        model.set_weights(before)
        self.assertEvaluated(model)

    def test_metric_of_two_models_has_the_constants_of_each(self):
        metric = metrics.CertifiedAccuracy(EPSILON)
        pair = [self.make_model(metric) for _ in range(2)]
        pair[1].layers[-1].kernel.assign(1e-3 * np.ones((4, 3)))
        for model in [*pair, *pair]:
            self.assertAllClose(
                self.constants(model, metric),
                self.pair_bounds(model),
                1e-40,
                2e-7,
            )

    def test_given_bound_is_kept_in_a_lipschitz_model_unless_it_is_false(self):
        metric = metrics.CertifiedAccuracy(1.0, lipschitz_bound=1e6)
        model = self.make_model(metric)
        self.assertEqual(self.evaluate(model), 0.0)
        # The largest bound of a margin is that of the constant.
        exact = np.max(self.pair_bounds(model)) / np.sqrt(2)
        metric.lipschitz_bound = float(exact) * (1 + 1e-6)
        self.evaluate(model)
        for given in (1e-6, float(exact) * (1 - 1e-6)):
            metric.lipschitz_bound = given
            with self.assertRaisesRegex(ValueError, "radii would be false"):
                self.evaluate(model)
            with self.assertRaisesRegex(ValueError, "smaller constant"):
                model.compile(loss="multiclass_hinge", metrics=[metric])

    def test_training_of_a_model_that_is_built_late_shows_progress(self):
        if keras.backend.backend() == "tensorflow":
            self.skipTest("Keras builds it in the first step on TensorFlow.")
        model = self.make_model(built=False)
        history = model.fit(self.x, self.y, verbose=0).history
        self.assertGreater(history["certified_accuracy"][0], 0.0)

    def test_batch_is_evaluated_with_the_weights_as_they_are(self):
        model = self.make_model()
        for scale in (1.0, 0.3):
            model.layers[-1].kernel.assign(scale * self.normal(4, 3))
            expected = self.certified(model)
            # With Keras 3.12, metrics go on from the batch before.
            model.reset_metrics()
            value = model.test_on_batch(self.x, self.y)[1]
            self.assertAllClose(value, expected)

    def test_weighted_samples_count_by_their_weights(self):
        metric = metrics.CertifiedAccuracy(EPSILON)
        model = self.make_model(metrics=None, weighted_metrics=[metric])
        weights = self.rng.uniform(size=64).astype("float32")
        report = certificates.certify(model, self.x, self.y)
        right = report.prediction == report.label
        certified = right & (report.radius > EPSILON)
        self.assertAllClose(
            # The last batch is a smaller one.
            self.evaluate(model, sample_weight=weights, batch_size=24),
            np.average(certified, weights=weights),
            1e-5,
        )

    def test_inputs_that_are_run_besides_do_not_count(self):
        metric = metrics.CertifiedAccuracy(EPSILON)
        model = self.make_model(metric)
        for _ in range(2):
            self.evaluate(model)
            self.assertEqual(float(to_numpy(metric.count)), 64.0)

    @parameterized.parameters("mixed_bfloat16", "mixed_float16", "bfloat16")
    def test_model_of_low_precision_is_evaluated(self, policy):
        self.addCleanup(keras.config.set_dtype_policy, "float32")
        keras.config.set_dtype_policy(policy)
        stack = self.make_stack()
        if policy == "bfloat16":
            # It has no solver of equations.
            stack[1] = keras.layers.Dense(4)
        model = models.LipschitzSequential([keras.Input((4,)), *stack])
        metric = metrics.CertifiedAccuracy(EPSILON)
        model.compile("sgd", losses.MulticlassHinge(), metrics=[metric])
        value = self.evaluate(model)
        # Some logits are off by a few percent.
        labels = np.argmax(model.predict(self.x, verbose=0), axis=1)
        self.assertBetween(value, 0.0, np.mean(labels == self.y))
        self.assertGreater(value, 0.0)

    @parameterized.parameters("mixed_bfloat16", "float32")
    def test_outputs_of_16_bits_may_be_rounded_for_the_metric(self, policy):
        """JAX may round them for the loss, and not for a metric."""
        self.addCleanup(keras.config.set_dtype_policy, "float32")
        keras.config.set_dtype_policy(policy)
        model = self.make_model()
        with mock.patch.object(
            certified_metric,
            "summarize",
            lambda outputs: summarize(outputs * (1 + 2.0**-9)),
        ):
            if policy == "float32":
                with self.assertRaisesRegex(ValueError, "other outputs"):
                    self.evaluate(model)
            else:
                self.assertGreater(self.evaluate(model), 0.0)

    def test_evaluation_with_float64_as_default(self):
        if keras.backend.backend() == "jax":
            self.skipTest("JAX has no float64, unless it is enabled.")
        self.addCleanup(keras.config.set_floatx, "float32")
        keras.config.set_floatx("float64")
        self.assertEvaluated(self.make_model())

    def test_images_of_any_size_are_evaluated(self):
        model = models.LipschitzSequential(
            [
                keras.Input((None, None, 2)),
                layers.InvertibleDownsampling2D(3),
                layers.BCOPConv2D(4, 1),
                layers.GlobalL2NormPooling2D(),
            ]
        )
        metric = metrics.CertifiedAccuracy(EPSILON)
        model.compile("sgd", losses.MulticlassHinge(), metrics=[metric])
        x, y = self.normal(8, 6, 6, 2), self.rng.integers(0, 4, 8)
        report = certificates.certify(model, x, y)
        self.assertAllClose(
            model.evaluate(x, y, verbose=0)[1],
            report.certified_accuracy(EPSILON),
        )

    def test_arguments_may_be_given_by_position(self):
        model = self.make_model()
        expected = self.certified(model)
        value = model.evaluate(self.x, self.y, 16, 0)[1]
        self.assertAllClose(value, expected)
        model.fit(self.x, self.y, 16, 1, 0, [], 0.5)
        self.assertEvaluated(model)

    def test_callbacks_may_come_as_a_list_of_keras(self):
        model = self.make_model()
        kernel = 0.3 * self.normal(4, 3)
        callbacks = keras.callbacks.CallbackList(
            [Change([kernel], test_begin=0)], model=model
        )
        value = self.evaluate(model, callbacks=callbacks)
        self.assertAllClose(to_numpy(model.layers[-1].kernel), kernel)
        self.assertAllClose(value, self.certified(model))
