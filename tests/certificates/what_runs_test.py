"""Certificates speak of the function that runs, whatever changed it.

Each of these was certified falsely once.
"""

import keras
import numpy as np
from keras import ops

from keras_lip import bounds
from keras_lip import certificates
from keras_lip import layers
from keras_lip import metrics
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

# What float32 makes of a radius that is attained.
SLACK = 1 + 2e-6


class WhatRunsTest(LipschitzTestCase):
    def linear_radius(self, model, x):
        """Returns the true radius of an affine model of two classes."""
        dim = x.shape[-1]
        origin = to_numpy(model(np.zeros((1, dim), "float32")))
        matrix = to_numpy(model(np.eye(dim, dtype="float32"))) - origin
        logits = to_numpy(model(np.asarray(x, "float32")))[0]
        normal = matrix[:, 0] - matrix[:, 1]
        return abs(logits[0] - logits[1]) / np.linalg.norm(normal)

    def test_constants_that_weights_do_not_say(self):
        # `set_weights` leaves the constants of a `Normalization` as they are.
        for finalize in (False, True):
            layer = keras.layers.Normalization()
            layer.adapt(np.array([[0.0, 0.0], [2.0, 2.0]]))
            model = keras.Sequential(
                [keras.Input((2,)), layer, keras.layers.Dense(2)]
            )
            model.layers[-1].set_weights([np.eye(2), np.zeros(2)])
            layer.set_weights([np.zeros(2), np.full(2, 1e-2), np.array(2)])
            if finalize:
                layer.finalize_state()
            x = np.array([[1.0, 0.5]])
            report = certificates.certify(model, x, [0])
            truth = self.linear_radius(model, x)
            self.assertLessEqual(report.radius[0], truth * SLACK)
            self.assertGreater(report.radius[0], 0.99 * truth)
            copies = [models.materialize(model)]
            if finalize:
                copies.append(models.fix_steps(model))
            for copy in copies:
                self.assertAllClose(copy(x), model(x), atol=1e-5)
                again = certificates.certify(copy, x, [0])
                self.assertAllClose(again.radius, report.radius, rtol=1e-4)

    def test_steps_are_fixed_of_the_same_function(self):
        data = (self.normal(200, 3) * 0.01 + 5).astype("float32")
        layer = keras.layers.Normalization()
        layer.adapt(data)
        model = models.LipschitzSequential(
            [
                keras.Input((3,)),
                layer,
                layers.ConvexPotentialDense(4),
                layers.UnitNormDense(2),
            ]
        )
        fixed = models.fix_steps(model)
        # The step is a little shorter: as much as its estimate was too long.
        self.assertAllClose(fixed(data), model(data), atol=0.05, rtol=0.05)
        answers = to_numpy(fixed(data)).argmax(axis=1)
        report = certificates.certify(fixed, data, answers)
        np.testing.assert_array_equal(report.prediction, answers)
        apart = np.linalg.norm(
            data[:, None].astype("float64") - data[None], axis=-1
        )
        apart[answers[None] == answers[:, None]] = np.inf
        self.assertTrue(np.all(apart.min(axis=1) >= report.radius))

    def test_audits_of_other_heads_and_policies_are_refused(self):
        def make_head():
            return keras.Sequential(
                [
                    keras.Input((3,)),
                    keras.layers.Identity(),
                    layers.CurvatureHead(3, 3),
                ]
            )

        def make_chain(dtype):
            scales = [
                layers.LipschitzScale(1.0038, dtype=dtype) for _ in range(20)
            ]
            return keras.Sequential(
                [
                    keras.Input((1,)),
                    *scales,
                    keras.layers.Dense(1, dtype="float32"),
                ]
            )

        weights = [np.eye(3), np.zeros(3), 2 * np.eye(3), np.zeros(3)]
        model, copy = make_head(), make_head()
        model.set_weights(weights)
        copy.set_weights(weights)
        audit = certificates.audit(model)
        x = np.array([[1.0, 0.5, 0.0]])
        certificates.certify(copy, x, [0], audit=audit)
        copy.set_weights([1e-3 * np.eye(3), *weights[1:]])
        with self.assertRaisesRegex(ValueError, "audit is of another model"):
            certificates.certify(copy, x, [0], audit=audit)
        half, single = make_chain("bfloat16"), make_chain("float32")
        for chain in (half, single):
            chain.set_weights([np.array([[1.0]]), np.zeros(1)])
        audit = certificates.audit(half)
        with self.assertRaisesRegex(ValueError, "audit is of another model"):
            certificates.certify(single, x[:, :1], [1], audit=audit)

    def test_steps_that_lead_uphill_are_bounded_as_they_are(self):
        for step in (-1.0, 50.0):
            layer = layers.ConvexPotentialDense(2, step=1.0)
            model = keras.Sequential(
                [keras.Input((2,)), layer, keras.layers.Dense(2)]
            )
            model.set_weights(
                [
                    3 * np.eye(2),
                    np.full(2, 100.0),
                    np.array(step),
                    np.eye(2),
                    np.zeros(2),
                ]
            )
            x = np.array([[1.0, 0.0]])
            try:
                radius = certificates.certified_radius(model, x)
            except ValueError:
                continue
            truth = self.linear_radius(model, x)
            self.assertLessEqual(radius[0], truth * SLACK)

    def test_biases_that_cancel_leave_no_margin(self):
        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(2), keras.layers.Dense(2)]
        )
        for size in (2.0**30, 2.0**54):
            model.set_weights(
                [np.eye(2), np.full(2, size), np.eye(2), np.full(2, -size)]
            )
            x = np.array([[2.1, 1.9]])
            radius = certificates.certified_radius(model, x)
            # The sums of the model drop the inputs; in float64 of 2**54 too.
            self.assertLessEqual(radius[0], 0.2 / 2**0.5 * SLACK)
        self.assertEqual(radius[0], 0.0)

    def test_half_precision_is_refused_or_covered(self):
        inputs = keras.Input((1,), dtype="bfloat16")
        outputs = keras.layers.Dense(1, dtype="float32")(inputs)
        model = keras.Model(inputs, outputs)
        model.set_weights([np.array([[1.0]]), np.array([-1.006])])
        with self.assertRaisesRegex(ValueError, "bfloat16"):
            certificates.certify(model, np.array([[1.0]]), [0])
        # It is audited as what it is: the weights that run are rounded.
        mixed = keras.Sequential(
            [
                keras.Input((4,)),
                layers.OrthogonalDense(4, dtype="mixed_bfloat16"),
                keras.layers.Dense(3, dtype="mixed_bfloat16"),
            ]
        )
        self.assertLen(certificates.audit(mixed).layers, 2)

    def test_float32_semantics_are_those_of_the_model(self):
        dense = layers.LipschitzDense(2, parametrization="spectral")
        model = keras.Sequential([keras.Input((2,)), dense])
        dense.free_kernel.assign(np.diag([2.0, 1.0]))
        dense.bias.assign([-1.0, 0.0])
        # The power method starts where it never finds the norm.
        dense.state["power_iteration_vector"].assign([[0.0, 1.0]])
        x = np.array([[1.2, 0.0]])
        report = certificates.certify(model, x, [0], semantics="float32")
        truth = self.linear_radius(model, x)
        self.assertLessEqual(report.radius[0], truth * SLACK)
        copy = models.materialize(model)
        self.assertAllClose(copy(x), model(x))

    def test_subclasses_and_changed_activations_are_refused_or_true(self):
        class Stretched(layers.ConvexPotentialDense):
            def call(self, inputs, training=False):
                return 5 * super().call(inputs, training)

        expansion = layers.ConvexPotentialExpansion(
            [Stretched(4), Stretched(4)]
        )
        model = keras.Sequential([keras.Input((3,)), expansion])
        with self.assertRaisesRegex(ValueError, "Stretched"):
            bounds.lipschitz_bound(model)
        layer = layers.ConvexPotentialDense(2, step=0.5)
        model = keras.Sequential([keras.Input((2,)), layer])
        layer.kernel.assign(np.eye(2))
        layer.activation = keras.activations.exponential
        with self.assertRaisesRegex(ValueError, "exponential"):
            bounds.lipschitz_bound(model)
        layer.activation = keras.activations.sigmoid
        x = self.normal(64, 2)
        step = 0.01 * self.normal(64, 2)
        apart = to_numpy(model(x + step)) - to_numpy(model(x))
        stretch = np.linalg.norm(apart, axis=1) / np.linalg.norm(step, axis=1)
        self.assertLessEqual(
            stretch.max(), bounds.lipschitz_bound(model) * (1 + 1e-3)
        )

    def test_replaced_methods_are_refused(self):
        x = np.array([[1.0, 0.5]])
        model = keras.Sequential([keras.Input((2,)), layers.UnitNormDense(2)])
        dense = model.layers[0]
        call = dense.call
        dense.call = lambda inputs, training=False: 3 * call(inputs)
        with self.assertRaises(ValueError):
            certificates.certified_radius(model, x)

    def test_products_are_certified_in_full_precision(self):
        if keras.backend.backend() != "torch":
            self.skipTest("Only PyTorch has a context that rounds products.")
        import torch

        head = layers.OrthogonalDense(3, parametrization="exponential")
        model = keras.Sequential([keras.Input((8,)), head])
        head.free_kernel.assign(self.normal(8, 3) * np.array([1.0, 0.5, 0.2]))
        x = self.normal(5, 8)
        expected = certificates.certified_radius(model, x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = certificates.certified_radius(model, x)
        np.testing.assert_array_equal(found, expected)


class EvaluatedWeightsTest(LipschitzTestCase):
    """`evaluate` proves what it counts of the weights that it runs."""

    X = np.array([[0.5, 0.1], [0.1, 0.5]], "float32")
    Y = np.eye(2, dtype="float32")

    def make_model(self, optimizer="sgd", **kwargs):
        model = models.LipschitzSequential(
            [keras.Input((2,)), keras.layers.Dense(2)]
        )
        metric = metrics.CertifiedAccuracy(0.2, name="certified")
        model.compile(optimizer, "mse", metrics=[metric], **kwargs)
        return model

    def evaluate(self, model, **kwargs):
        return model.evaluate(
            self.X, self.Y, verbose=0, return_dict=True, **kwargs
        )["certified"]

    def test_averaged_weights_that_are_swapped_in(self):
        optimizer = keras.optimizers.SGD(0.0, use_ema=True, ema_momentum=0.0)
        model = self.make_model(optimizer)
        # Margins are 0.28 apart from the other class, whatever the scale.
        model.set_weights([10 * np.eye(2)[:, ::-1], np.zeros(2)])
        model.fit(self.X, self.Y, verbose=0)
        model.set_weights([np.eye(2), np.zeros(2)])
        self.assertEqual(self.evaluate(model), 1.0)
        callback = keras.callbacks.SwapEMAWeights()
        callback.set_model(model)
        self.assertEqual(self.evaluate(model, callbacks=[callback]), 0.0)
        self.assertEqual(self.evaluate(model), 1.0)

    def test_weights_that_a_callback_sets_before_the_test(self):
        class Scale(keras.callbacks.Callback):
            def on_test_begin(self, logs=None):
                kernel = np.array([[1.0, 0.9], [0.9, 1.0]])
                self.model.set_weights([kernel, np.array([0.0, 0.3])])

        model = self.make_model()
        model.set_weights([np.eye(2), np.zeros(2)])
        self.assertEqual(self.evaluate(model), 1.0)
        found = self.evaluate(model, callbacks=[Scale()])
        report = certificates.certify(model, self.X, self.Y, epsilons=[0.2])
        self.assertEqual(found, report.certified_accuracy(0.2))
        self.assertLess(found, 1.0)

    def test_weights_that_change_between_batches_are_refused(self):
        class Scale(keras.callbacks.Callback):
            def on_test_batch_end(self, batch, logs=None):
                kernel = self.model.layers[0].kernel
                kernel.assign(kernel * 0.5 + 0.1)

        model = self.make_model()
        model.set_weights([np.eye(2), np.zeros(2)])
        with self.assertRaisesRegex(ValueError, "weights"):
            self.evaluate(model, callbacks=[Scale()], batch_size=1)

    def test_all_ways_to_run_a_step_count_the_same(self):
        ways = [{"run_eagerly": True}]
        if keras.backend.backend() != "torch":
            ways += [{"jit_compile": True}, {"steps_per_execution": 2}]
        for way in ways:
            with self.subTest(**way):
                model = self.make_model(**way)
                model.set_weights([np.eye(2), np.array([0.0, 0.2])])
                report = certificates.certify(
                    model, self.X, self.Y, epsilons=[0.2]
                )
                self.assertEqual(
                    self.evaluate(model, batch_size=1),
                    report.certified_accuracy(0.2),
                )
                model.set_weights([np.eye(2), np.zeros(2)])
                self.assertEqual(self.evaluate(model, batch_size=1), 1.0)

    def test_training_moves_what_validation_counts(self):
        model = self.make_model(keras.optimizers.SGD(0.5))
        history = model.fit(
            self.X,
            self.Y,
            epochs=3,
            verbose=0,
            validation_data=(self.X, self.Y),
        ).history["val_certified"]
        self.assertLen(history, 3)
        self.assertEqual(history[-1], self.evaluate(model))
        report = certificates.certify(model, self.X, self.Y, epsilons=[0.2])
        self.assertEqual(history[-1], report.certified_accuracy(0.2))


class PlainModelsTest(LipschitzTestCase):
    """What was refused, though it is plain."""

    def certify(self, model, shape):
        x = self.normal(4, *shape)
        report = certificates.certify(model, x, [0, 1, 2, 0])
        self.assertTrue(np.all(report.radius > 0))
        return report

    def test_one_layer_at_several_shapes(self):
        shared = (
            keras.layers.AveragePooling2D(2),
            keras.layers.Conv2D(4, 3),
            keras.layers.MaxPooling2D(2),
            layers.AOLConv2D(4, 3),
            layers.GlobalL2NormPooling2D(),
            layers.GlobalScaledAveragePooling2D(),
            layers.GroupSort(2),
            layers.L2NormPooling2D(2),
            layers.MaxChannelPooling(),
            layers.MaxMin(),
            layers.RKOConv2D(4, 3),
        )
        for layer in shared:
            with self.subTest(layer=layer.name):
                inputs = keras.Input((6, 6, 4))
                small = layer(keras.layers.Cropping2D(1)(inputs))
                flat = [
                    keras.layers.Flatten()(x) for x in (layer(inputs), small)
                ]
                outputs = layers.UnitNormDense(3)(
                    keras.layers.Concatenate()(flat)
                )
                self.certify(keras.Model(inputs, outputs), (6, 6, 4))

    def test_groups_are_checked_at_every_shape(self):
        for layer in (
            layers.GroupSort(2),
            layers.MaxChannelPooling(),
            layers.MaxMin(),
        ):
            layer(keras.Input((4,)))
            with self.assertRaisesRegex(ValueError, "channels"):
                layer(keras.Input((3,)))

    def test_sides_that_are_left_open(self):
        inputs = keras.Input((None, None, 3))
        x = keras.layers.Add()([inputs, layers.RKOConv2D(3, 3)(inputs)])
        x = keras.layers.GlobalAveragePooling2D()(x)
        model = keras.Model(inputs, layers.UnitNormDense(3)(x))
        small = self.certify(model, (4, 4, 3)).lipschitz_bound
        large = self.certify(model, (8, 8, 3)).lipschitz_bound
        # An average over four times as many pixels is half as large.
        self.assertAllClose(large, small / 2, rtol=1e-3)
        x = self.normal(4, 4, 4, 3)
        audit = certificates.audit(model, input_shape=(4, 4, 3))
        report = certificates.certify(model, x, [0, 1, 2, 0], audit=audit)
        self.assertEqual(report.lipschitz_bound, small)
        summary = certificates.falsify(
            model, x, [0, 1, 2, 0], report, attacks=False
        )
        self.assertEqual(summary.num_attacked, 4)
        with self.assertRaisesRegex(ValueError, "shape"):
            certificates.certify(
                model, self.normal(4, 8, 8, 3), [0, 1, 2, 0], audit=audit
            )
        batches = iter([(x, [0, 1, 2, 0]), (x[:, :3], [0, 1, 2, 0])])
        with self.assertRaisesRegex(ValueError, "shape"):
            certificates.certify(model, batches)

    def test_windows_larger_than_images_are_refused(self):
        for strides in (1, 2):
            for make in (layers.AOLConv2D, layers.RKOConv2D, layers.OSSNConv2D):
                layer = make(2, 5, strides=strides, padding="valid")
                with self.assertRaisesRegex(ValueError, "window"):
                    layer.build((None, 4, 8, 1))
                layer.build((None, 5, 8, 1))


class LoopTest(LipschitzTestCase):
    """State does not leak out of loops."""

    class Cell(keras.layers.Layer):
        def __init__(self, dense, **kwargs):
            super().__init__(**kwargs)
            self.state_size = dense.units
            self.dense = dense

        def build(self, shape):
            self.dense.build((None, shape[-1] + self.state_size))

        def call(self, inputs, states, training=False):
            joined = ops.concatenate([inputs, states[0]], axis=-1)
            outputs = self.dense(joined, training=training)
            return outputs, [outputs]

    def test_cells_train_and_are_refused_by_name(self):
        dense = layers.LipschitzDense(3, parametrization="spectral")
        rnn = keras.layers.RNN(self.Cell(dense))
        model = keras.Sequential([keras.Input((4, 2)), rnn])
        model.compile("sgd", "mse")
        before = to_numpy(dense.free_kernel)
        model.fit(
            self.normal(4, 4, 2), self.normal(4, 3), batch_size=2, verbose=0
        )
        self.assertTrue(np.all(np.isfinite(to_numpy(dense.kernel))))
        moved = np.abs(to_numpy(dense.free_kernel) - before)
        self.assertGreater(moved.max(), 1e-4)
        with self.assertRaisesRegex(ValueError, "rnn"):
            certificates.certified_radius(model, self.normal(2, 4, 2))

    def test_layers_that_are_distributed_or_stacked_are_certified(self):
        for wrapped in (
            keras.layers.TimeDistributed(
                layers.LipschitzDense(4, parametrization="spectral")
            ),
            keras.layers.TimeDistributed(layers.ConvexPotentialDense(4)),
            layers.LayerStack(
                layers.LipschitzDense(4, parametrization="spectral"), 2
            ),
            layers.LayerStack(layers.ConvexPotentialDense(4), 2),
        ):
            inputs = keras.Input((4,))
            x = inputs
            if isinstance(wrapped, keras.layers.TimeDistributed):
                x = keras.layers.Reshape((2, 2))(x)
            x = keras.layers.Flatten()(wrapped(x))
            model = keras.Model(inputs, layers.UnitNormDense(2)(x))
            model.compile("sgd", "mse")
            x = self.normal(4, 4)
            model.fit(x, np.eye(2)[[0, 1, 0, 1]], verbose=0)
            report = certificates.certify(model, x, [0, 1, 0, 1])
            self.assertTrue(np.all(report.radius > 0))
