import concurrent.futures

import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip import metrics
from keras_lip import models
from keras_lip.bounds import lipschitz_bound
from keras_lip.bounds import propagate_bound
from keras_lip.models.held_inference import HeldInference
from tests.layers.every_layer import WEIGHTED
from tests.layers.every_layer import connect
from tests.layers.scaled_cayley import ScaledCayley
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

# Bounded in one norm, and the layer that is bounded in another.
OTHERS = ("LinfDense",)
MOST = tuple(name for name in WEIGHTED if name not in OTHERS)


class ChangeWeights(keras.callbacks.Callback):
    """Turns a kernel upside down at one event."""

    def __init__(self, event, kernel):
        super().__init__()

        def change(*args, **kwargs):
            if hasattr(self.model, "jax_state_sync"):
                self.model.jax_state_sync()
            kernel.assign(ops.flip(kernel, 0))

        setattr(self, event, change)


class ChangeBetweenBatches(keras.callbacks.Callback):
    def __init__(self, kernel):
        super().__init__()
        self.kernel = kernel

    def on_predict_batch_begin(self, batch, logs=None):
        if batch == 1:
            if hasattr(self.model, "jax_state_sync"):
                self.model.jax_state_sync()
            self.kernel.assign(ops.flip(self.kernel, 0))


class HeldInferenceTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.x = self.normal(6, 4, 4, 2)
        self.y = self.normal(6, 3)
        self.model = models.LipschitzSequential(
            [
                keras.Input((4, 4, 2)),
                layers.BCOPConv2D(2, 3),
                layers.ConvexPotentialConv2D(3, 3),
                keras.layers.Flatten(),
                layers.SLLDense(4),
                layers.OrthogonalDense(3),
            ]
        )
        self.kernel = self.model.layers[-1].free_kernel
        self.model.compile(keras.optimizers.SGD(0.1), "mse")

    def live(self, x=None):
        x = self.x if x is None else x
        return to_numpy(self.model(x, training=False))

    def predict(self, **kwargs):
        return self.model.predict(self.x, batch_size=2, verbose=0, **kwargs)

    def assertFresh(self):
        """All ways to run the model see the weights as they are."""
        expected = self.live()
        self.assertAllClose(self.predict(), expected, 1e-5)
        self.assertAllClose(self.model.predict_on_batch(self.x), expected, 1e-5)
        error = np.mean((expected - self.y) ** 2)
        for found in (
            self.model.evaluate(self.x, self.y, batch_size=2, verbose=0),
            self.model.test_on_batch(self.x, self.y),
        ):
            self.assertAlmostEqual(float(found), error, delta=1e-5)

    @property
    def held(self):
        return self.model._certifying.inference

    def count_computations(self):
        calls = []
        self.predict()
        compute = self.held._compute

        def count():
            calls.append(None)
            return compute()

        self.held._compute = count
        return calls

    def test_every_kind_of_layer_is_held(self):
        self.predict()
        held = [type(layer).__name__ for layer in self.held.layers]
        kinds = (
            *("BCOPConv2D", "ConvexPotentialConv2D", "SLLDense"),
            "OrthogonalDense",
        )
        self.assertEqual(held, list(kinds))

    def test_kernels_are_computed_once_for_given_weights(self):
        calls = self.count_computations()
        self.assertFresh()
        self.assertEmpty(calls)
        self.kernel.assign(ops.flip(self.kernel, 0))
        self.assertFresh()
        self.assertLen(calls, 1)

    def test_compiled_functions_do_not_compute_them(self):
        self.predict()
        calls = []

        def fail(layer):
            calls.append(layer)
            return layer.kernel

        self.plant(layers.OrthogonalDense, "_constrain", fail)
        self.predict()
        # Another size of batch is traced anew.
        self.model.predict(self.x[:5], batch_size=5, verbose=0)
        self.assertEmpty(calls)

    def test_nothing_is_stale_after_weights_change(self):
        self.assertFresh()
        before = self.live()
        self.model.train_on_batch(self.x, self.y)
        self.assertGreater(np.abs(self.live() - before).max(), 1e-3)
        self.assertFresh()
        self.model.fit(self.x, self.y, verbose=0)
        self.assertFresh()
        path = self.temporary_path("model.weights.h5")
        self.model.save_weights(path)
        kept = self.live()
        self.model.set_weights([w + 0.5 for w in self.model.get_weights()])
        self.assertFresh()
        self.model.load_weights(path)
        self.assertAllClose(self.live(), kept)
        self.assertFresh()

    def test_nothing_is_stale_after_settings_change(self):
        model = models.LipschitzSequential(
            [
                keras.Input((4,)),
                layers.OrthogonalDense(3, parametrization="bjorck"),
            ]
        )
        model.layers[0].free_kernel.assign(self.normal(4, 3))
        x = self.normal(2, 4)
        model.predict(x, verbose=0)
        before = to_numpy(model(x))
        model.layers[0].parametrization.iterations = 1
        found = model.predict(x, verbose=0)
        self.assertGreater(np.abs(found - before).max(), 1e-3)
        self.assertAllClose(found, model(x), 1e-5)

    def test_nothing_is_stale_after_a_part_of_a_user_changes(self):
        layer = layers.OrthogonalDense(4, parametrization=ScaledCayley(1.0))
        model = models.LipschitzSequential([keras.Input((4,)), layer])
        x = self.normal(3, 4)
        for factor in (1.0, 3.0):
            layer.parametrization.factor = factor
            found = to_numpy(model.predict(x, verbose=0) - layer.bias)
            norms = np.linalg.norm(found, axis=1)
            expected = factor * np.linalg.norm(x, axis=1)
            self.assertAllClose(norms, expected, 1e-5, 1e-5)
            self.assertAllClose(lipschitz_bound(model), factor, 1e-5)

    def test_validation_is_of_the_weights_of_its_epoch(self):
        history = self.model.fit(
            *(self.x, self.y),
            batch_size=3,
            epochs=2,
            validation_data=(self.x, self.y),
            verbose=0,
        ).history
        error = np.mean((self.live() - self.y) ** 2)
        self.assertAlmostEqual(history["val_loss"][-1], error, delta=1e-5)
        self.assertNotAlmostEqual(*history["val_loss"], delta=1e-5)

    @parameterized.parameters("on_predict_begin", "on_predict_batch_begin")
    def test_callbacks_may_change_weights(self, event):
        self.predict()
        change = ChangeWeights(event, self.kernel)
        found = self.predict(callbacks=[change])
        self.assertAllClose(found[-2:], self.live()[-2:], 1e-5)
        self.assertFresh()

    def test_callbacks_may_change_weights_between_batches(self):
        before = self.live()
        found = self.predict(callbacks=[ChangeBetweenBatches(self.kernel)])
        self.assertAllClose(found[:2], before[:2], 1e-5)
        self.assertAllClose(found[2:], self.live()[2:], 1e-5)

    def test_functions_of_keras_compute_everything(self):
        self.predict()
        self.assertIsNone(self.model.predict_function)
        self.kernel.assign(ops.flip(self.kernel, 0))
        if keras.backend.backend() != "jax":
            self.model.make_predict_function()
            batch = (ops.convert_to_tensor(self.x),)
            found = self.model.predict_function(batch)
            self.assertAllClose(found, self.live(), 1e-5)

    def test_variables_are_not_part_of_the_model(self):
        weights = len(self.model.weights)
        count = len(self.model.non_trainable_variables)
        self.predict()
        self.assertLen(self.model.weights, weights)
        self.assertLen(self.model.variables, weights)
        self.assertLen(self.model.non_trainable_variables, count)

    def test_what_fails_leaves_nothing_behind(self):
        self.predict()

        def fail(batch, logs):
            raise RuntimeError("Enough.")

        stop = keras.callbacks.LambdaCallback(on_test_batch_end=fail)
        with self.assertRaisesRegex(RuntimeError, "Enough"):
            self.model.evaluate(self.x, self.y, callbacks=[stop], verbose=0)
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        self.assertFresh()

    def test_a_model_that_is_not_built_is_built(self):
        model = models.LipschitzSequential([layers.OrthogonalDense(3)])
        x = self.normal(4, 5)
        for _ in range(2):
            found = model.predict(x, verbose=0)
            self.assertAllClose(found, model(x), 1e-5)
            model.layers[0].free_kernel.assign(self.normal(5, 3))

    @parameterized.product(
        names=(MOST, OTHERS), dtype=("float32", "mixed_bfloat16")
    )
    def test_every_layer_computes_what_it_does_live(self, names, dtype):
        inputs, outputs = [], []
        for name in names:
            make, shape = WEIGHTED[name]
            inputs.append(keras.Input(shape))
            outputs.append(connect(name, make(dtype=dtype), inputs[-1]))
        model = models.LipschitzModel(inputs, outputs)
        for weight in model.trainable_weights:
            weight.assign(self.normal(*weight.shape))
        x = [self.normal(4, *each.shape[1:]) for each in inputs]
        found, live = (
            keras.tree.flatten(each)
            for each in (model.predict(x, batch_size=2, verbose=0), model(x))
        )
        for name, one, other in zip(names, found, live, strict=True):
            with self.subTest(name):
                one, other = to_numpy(one), to_numpy(other)
                # Roundings to bfloat16 may go either way.
                unit = 2e-5 if dtype == "float32" else 2.0**-6
                size = np.abs(other.astype("float64")).max()
                self.assertAllClose(one, other, unit * size, 0)

    def test_certified_metrics_do_not_refresh_in_every_batch(self):
        self.model.compile(
            "sgd",
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[metrics.CertifiedAccuracy(0.01)],
        )
        calls = []
        refresh = HeldInference.refresh

        def count(held):
            calls.append(held)
            refresh(held)

        self.plant(HeldInference, "refresh", count)
        y = np.arange(6) % 3
        data = {"batch_size": 1, "verbose": 0}
        self.model.evaluate(self.x, y, **data)
        self.assertLen(calls, 2)
        self.model.fit(self.x, y, validation_data=(self.x, y), **data)
        self.assertLen(calls, 4)

    def test_layers_may_run_on_other_weights_than_their_own(self):
        class Halved(keras.layers.Layer):
            def __init__(self, layer):
                super().__init__()
                self.layer = layer

            def call(self, inputs):
                halves = [0.5 * w for w in self.layer.trainable_variables]
                return self.layer.stateless_call(halves, [], inputs)[0]

            def build(self, input_shape):
                self.layer.build(input_shape)

        class Model(models.LipschitzModel):
            def __init__(self):
                super().__init__()
                # Weights this small are not projected: half of them is half.
                small = keras.initializers.RandomUniform(-0.1, 0.1)
                self.dense = layers.LinfDense(3, kernel_initializer=small)
                self.halved = Halved(self.dense)

            def call(self, inputs):
                return self.halved(inputs)

        model, x = Model(), self.normal(3, 4)
        for _ in range(2):
            found = model.predict(x, verbose=0)
            self.assertAllClose(found, 0.5 * to_numpy(model.dense(x)), 1e-5)

    def test_every_block_of_a_stack_is_held(self):
        block = [
            layers.ConvexPotentialDense(3),
            layers.MaxMin(),
            layers.OrthogonalDense(4),
        ]
        # A stack of stacks, and one of blocks that compute nothing.
        inner = layers.LayerStack(block, 2)
        model = models.LipschitzSequential(
            [
                keras.Input((4,)),
                layers.LayerStack([layers.OrthogonalDense(4), inner], 3),
                layers.LayerStack(layers.Householder(), 2),
            ]
        )
        for weight in model.trainable_weights:
            weight.assign(self.normal(*weight.shape))
        x = self.normal(5, 4)
        calls = []
        for layer_cls in (layers.ConvexPotentialDense, layers.OrthogonalDense):
            compute = layer_cls._constrain

            def count(layer, compute=compute):
                calls.append(layer)
                return compute(layer)

            self.plant(layer_cls, "_constrain", count)
        for _ in range(2):
            found = model.predict(x, batch_size=2, verbose=0)
            calls.clear()
            again = model.predict(x, batch_size=3, verbose=0)
            self.assertEmpty(calls)
            self.assertAllClose(again, found, 1e-6)
            self.assertAllClose(found, model(x), 1e-5)
            weight = model.trainable_weights[0]
            weight.assign(ops.flip(weight, 0))

    def test_layers_of_a_user_in_a_stack_run_as_they_are(self):
        class Mine(keras.layers.Layer):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)

            def call(self, inputs):
                return 0.5 * inputs

            def get_config(self):
                return {"name": self.name}

        propagate_bound.register(Mine)(lambda layer, inputs: inputs)
        stack = layers.LayerStack([layers.OrthogonalDense(4), Mine()], 2)
        model = models.LipschitzSequential([keras.Input((4,)), stack])
        x = self.normal(2, 4)
        self.assertAllClose(model.predict(x, verbose=0), model(x), 1e-5)
        self.assertIsNone(model._certifying.inference)

    def test_threads_wait_for_each_other(self):
        expected = self.live()
        self.predict()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            found = [pool.submit(self.predict) for _ in range(8)]
            for each in found:
                self.assertAllClose(each.result(), expected, 1e-5)

    def test_steps_of_a_user_run_as_they_are(self):
        class Model(models.LipschitzModel):
            def predict_step(self, *args):
                return super().predict_step(*args)

        inputs = keras.Input((4,))
        model = Model(inputs, layers.OrthogonalDense(3)(inputs))
        x = self.normal(2, 4)
        self.assertAllClose(model.predict(x, verbose=0), model(x), 1e-5)
        self.assertIsNone(model._certifying.inference)

    def test_certified_metrics_are_of_what_is_held(self):
        y = np.arange(6) % 3
        self.model.compile(
            keras.optimizers.SGD(0.1),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[metrics.CertifiedAccuracy(0.01)],
        )
        for _ in range(2):
            self.model.evaluate(self.x, y, verbose=0)
            self.model.fit(self.x, y, verbose=0)
        # What is held of other weights is another function: it is found.
        self.predict()
        for slot in self.held.variables:
            slot.assign(ops.multiply(slot, 1.5))
        with self.assertRaisesRegex(ValueError, "another function"):
            self.model.evaluate(self.x, y, verbose=0)
