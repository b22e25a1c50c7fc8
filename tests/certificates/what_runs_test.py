"""Certificates speak of the function that runs, whatever changed it.

Each of these was certified falsely once.
"""

import keras
import numpy as np

from keras_lip import bounds
from keras_lip import certificates
from keras_lip import layers
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
