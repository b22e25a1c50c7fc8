from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

import keras_lip as kl
from keras_lip.certificates import FalsifiedCertificate
from keras_lip.certificates import certified_radius
from keras_lip.certificates import certify
from keras_lip.certificates import falsify
from keras_lip.certificates.live_check import check_live
from keras_lip.live_model import LiveModel
from keras_lip.program import freeze
from keras_lip.program.program import LIVE_MACHINE
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

CALL = layers.Dense.call


def sharper(layer, inputs, training=None):
    """Computes twice of what a layer is read as."""
    return 2 * CALL(layer, inputs)


def draw_and_change(x, weight, value):
    """Yields a batch twice, and assigns to a weight in between."""
    yield x, np.zeros(len(x))
    weight.assign(value)
    yield x, np.zeros(len(x))


class LiveCheckTest(LipschitzTestCase):
    def make_model(self, kernel=None, bias=None):
        kernel = np.eye(2) if kernel is None else kernel
        model = keras.Sequential([keras.Input((2,)), layers.Dense(2)])
        bias = np.zeros(2) if bias is None else bias
        model.layers[0].set_weights([kernel, bias])
        return model

    def enclose(self, model, x):
        (outputs,) = freeze(model).enclose(x, LIVE_MACHINE)
        return outputs

    def test_answers_are_those_of_the_program_but_for_float32(self):
        model, x = self.make_model(self.normal(2, 2)), self.normal(5, 2)
        outputs = self.enclose(model, x)
        overflows = check_live(LiveModel(model), x, outputs)
        self.assertEqual(overflows.tolist(), [False] * 5)
        kernel = to_numpy(model.layers[0].kernel).astype("float64")
        self.assertAllClose(
            outputs.value, x.astype("float64") @ kernel, 1e-14, 1e-14
        )

    def test_answer_that_is_off_is_refused_with_its_number(self):
        model, x = self.make_model(), self.normal(5, 2)
        outputs = self.enclose(model, x)
        x[3] += [1e-3, 0.0]
        with self.assertRaisesRegex(
            ValueError, "outputs differ from.* by 0.001 at sample 13"
        ):
            check_live(LiveModel(model), x, outputs, start=10)

    def test_answer_of_another_shape_is_refused(self):
        model, x = self.make_model(), self.normal(5, 2)
        outputs = self.enclose(model, x)
        with self.assertRaisesRegex(
            ValueError, r"another shape.*Received: \(4, 2\), expected: \(5, 2\)"
        ):
            check_live(LiveModel(model), x[:4], outputs)

    @parameterized.parameters("OrthogonalDense", "LayerStack", "Dense")
    def test_weights_that_the_data_change_are_noticed(self, name):
        """Also those of layers whose kernel is computed only once."""
        layer = {
            "OrthogonalDense": kl.layers.OrthogonalDense(2),
            "LayerStack": kl.layers.LayerStack(
                [kl.layers.OrthogonalDense(2)], 2
            ),
            "Dense": layers.Dense(2),
        }[name]
        model = keras.Sequential([keras.Input((2,)), layer])
        weight, x = layer.trainable_weights[0], self.normal(3, 2)
        before = to_numpy(weight).copy()
        steps = np.arange(before.size).reshape(before.shape)
        data = draw_and_change(x, weight, before)
        self.assertLen(certify(model, data).radius, 6)
        data = draw_and_change(x, weight, before + steps)
        with self.assertRaisesRegex(
            ValueError, "at sample 3.*weights that change while the data"
        ):
            certify(model, data)

    def test_kernels_are_computed_once_for_the_same_weights(self):
        layer = kl.layers.OrthogonalDense(2)
        model = keras.Sequential([keras.Input((2,)), layer])
        calls, constrain = [], kl.layers.OrthogonalDense._constrain

        def count(layer):
            calls.append(layer)
            return constrain(layer)

        self.plant(kl.layers.OrthogonalDense, "_constrain", count)
        certify(model, self.normal(6, 2), [0] * 6, batch_size=2)
        self.assertLen(calls, 1)

    def test_what_overflows_in_float32_has_no_radius(self):
        model = self.make_model(1e38 * np.eye(2))
        x = np.array([[1.0, 0.0], [100.0, 0.0], [0.0, 2.0]])
        overflows = check_live(LiveModel(model), x, self.enclose(model, x))
        self.assertEqual(overflows.tolist(), [False, True, False])
        radius = certified_radius(model, x)
        self.assertEqual((radius > 0).tolist(), [True, False, True])

    @parameterized.parameters(1, 4)
    def test_model_that_computes_otherwise_is_not_certified(self, batch_size):
        model, x = self.make_model(), self.normal(4, 2)
        certify(model, x, np.zeros(4))
        with mock.patch.object(layers.Dense, "call", sharper):
            with self.assertRaisesRegex(ValueError, "outputs differ from"):
                certify(model, x, np.zeros(4), batch_size=batch_size)

    def test_model_that_computes_otherwise_later_is_falsified(self):
        model, x = self.make_model(), self.normal(4, 2)
        report = certify(model, x, np.zeros(4))
        falsify(model, x, None, report, attacks=False, steps=1)
        with mock.patch.object(layers.Dense, "call", sharper):
            with self.assertRaisesRegex(
                FalsifiedCertificate, "differ from the certified program"
            ) as caught:
                falsify(model, x, None, report, attacks=False, steps=1)
        self.assertAllClose(caught.exception.counterexample, x[0])

    def test_constant_that_is_stale_is_not_certified(self):
        if keras.backend.backend() != "torch":
            self.skipTest("What is called eagerly is PyTorch's alone.")
        inputs = keras.Input((2,))
        scale = layers.Rescaling(2.0)
        model = keras.Model(inputs, scale(inputs))
        x = self.normal(4, 2)
        before = freeze(model)
        scale.scale = 3.0
        with self.assertRaisesRegex(ValueError, "outputs differ from"):
            (outputs,) = before.enclose(x, LIVE_MACHINE)
            check_live(LiveModel(model), x, outputs)
        certify(model, x, np.zeros(4))
