import csv

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import bounds
from keras_lip import callbacks
from keras_lip import layers
from keras_lip import losses
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase


class LipschitzMonitorTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.x, self.y = self.normal(16, 6), self.rng.integers(0, 3, 16)

    def make_model(self):
        trunk = keras.Sequential(
            [
                keras.Input((6,)),
                layers.OrthogonalDense(8, name="wide"),
                layers.MaxMin(name="sort"),
            ],
            name="trunk",
        )
        model = models.LipschitzSequential(
            [
                keras.Input((6,)),
                trunk,
                layers.ConvexPotentialDense(4, name="block"),
                keras.layers.Dense(3, name="head"),
            ]
        )
        model.compile("sgd", losses.MulticlassHKR())
        return model

    def fit(self, model, *used, **kwargs):
        return model.fit(
            self.x, self.y, callbacks=list(used), verbose=0, **kwargs
        ).history

    def test_logs_are_those_of_the_weights_after_the_epoch(self):
        model = self.make_model()
        sample = self.x[:4], self.y[:4]
        monitor = callbacks.LipschitzMonitor(sample_batch=sample)
        path = self.temporary_path("log.csv")
        history = self.fit(
            model, monitor, keras.callbacks.CSVLogger(path), epochs=2
        )
        dense = ("trunk/wide", "head")
        keys = [f"sigma_{end}/{n}" for end in ("min", "max") for n in dense]
        names = ("trunk/wide", "trunk/sort", "block", "head")
        keys += ["loss", "lipschitz_bound"]
        keys += [f"dead_gradient/{name}" for name in names]
        self.assertCountEqual(history, keys)
        self.assertEqual(
            history["lipschitz_bound"][1], bounds.lipschitz_bound(model)
        )
        values = self.singular_values(model.layers[-1].kernel)
        self.assertAllClose(history["sigma_min/head"][1], values[-1])
        self.assertAllClose(history["sigma_max/head"][1], values[0])
        self.assertAllClose(history["sigma_min/trunk/wide"], [1, 1])
        self.assertAllClose(history["sigma_max/trunk/wide"], [1, 1])
        # The weights move: numbers of another moment would be others.
        self.assertNotAlmostEqual(
            history["sigma_max/head"][0], history["sigma_max/head"][1]
        )
        with open(path) as file:
            rows = list(csv.DictReader(file))
        for key, column in history.items():
            self.assertAllClose([float(row[key]) for row in rows], column)

    def test_each_item_can_be_left_out(self):
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        model.compile("sgd", losses.MulticlassHKR())
        for kwargs, prefixes in (
            ({"lipschitz_bound": False}, {"sigma_min", "sigma_max"}),
            ({"singular_values": False}, {"lipschitz_bound"}),
        ):
            monitor = callbacks.LipschitzMonitor(**kwargs)
            history = self.fit(model, monitor)
            found = {key.split("/")[0] for key in history} - {"loss"}
            self.assertEqual(found, prefixes)

    def test_kernels_are_measured_as_they_run_in_mixed_precision(self):
        layer = keras.layers.Dense(3, dtype="mixed_bfloat16", name="head")
        model = keras.Sequential([keras.Input((6,)), layer])
        model.compile(keras.optimizers.SGD(0.0), losses.MulticlassHKR())
        history = self.fit(model, callbacks.LipschitzMonitor())
        rounded = keras.ops.cast(layer.kernel, "bfloat16")
        values = self.singular_values(rounded)
        self.assertAllClose(history["sigma_max/head"], [values[0]], rtol=1e-7)

    def test_weights_that_are_not_finite_are_reported(self):
        layer = keras.layers.Dense(3, name="head")
        model = keras.Sequential([keras.Input((6,)), layer])
        model.compile("sgd", losses.MulticlassHKR())
        layer.kernel.assign(np.full((6, 3), np.nan))
        history = self.fit(model, callbacks.LipschitzMonitor())
        self.assertEqual(history["lipschitz_bound"], [np.inf])
        self.assertTrue(np.isnan(history["sigma_max/head"][0]))

    def test_switches_must_be_booleans(self):
        batch = np.ones((2, 4)), np.zeros(2)
        with self.assertRaisesRegex(
            TypeError,
            r"`lipschitz_bound` must be .*`sample_batch=\(x, y\)`.*tuple",
        ):
            callbacks.LipschitzMonitor(batch)
        with self.assertRaisesRegex(TypeError, "`singular_values` must be"):
            callbacks.LipschitzMonitor(singular_values=None)

    @parameterized.parameters(
        ((3, 4), (2,)), ((0, 4), (0,)), ((), (1,)), ((3, 4), ())
    )
    def test_sample_batch_must_hold_as_many_labels(self, inputs, labels):
        with self.assertRaisesRegex(
            ValueError,
            "same number of inputs and labels, .* Received: x.shape=",
        ):
            callbacks.LipschitzMonitor(
                sample_batch=(np.ones(inputs), np.zeros(labels))
            )

    def test_models_that_do_not_fit_are_refused_before_training(self):
        model = keras.Sequential(
            [keras.Input((6,)), keras.layers.LayerNormalization()]
        )
        model.compile("sgd", "mse")
        epochs = []
        recorder = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: epochs.append(epoch)
        )
        with self.assertRaisesRegex(ValueError, "No Lipschitz bound is known"):
            used = [callbacks.LipschitzMonitor(), recorder]
            model.fit(self.x, self.x, callbacks=used, verbose=0)
        self.assertEqual(epochs, [])
        with self.assertRaisesRegex(ValueError, "a tuple of two arrays"):
            callbacks.LipschitzMonitor(sample_batch=self.x)
