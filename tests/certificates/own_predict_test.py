import types

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import certificates
from keras_lip import layers
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase

PRIOR = np.array([0.5, -0.5, 0.0], "float32")


class Adjusted(models.LipschitzSequential):
    """Adjusts its logits to other shares of the classes."""

    if keras.backend.backend() == "jax":

        def predict_step(self, state, data):
            outputs, state = super().predict_step(state, data)
            return outputs + PRIOR, state

    else:

        def predict_step(self, data):
            return super().predict_step(data) + PRIOR


class Averaged(models.LipschitzSequential):
    """Averages the logits of an input and its mirror image."""

    def predict(self, x, **kwargs):
        both = x, x[:, ::-1].copy()
        return sum(super(Averaged, self).predict(each) for each in both) / 2


class Batched(keras.Sequential):
    def predict_on_batch(self, x):
        return -super().predict_on_batch(x)


def make(cls):
    return cls([keras.Input((4,)), layers.UnitNormDense(3)])


class OwnPredictTest(LipschitzTestCase):
    """`predict` of a certified model is that of its `call`."""

    @parameterized.parameters(
        (Adjusted, "predict_step"),
        (Averaged, "predict"),
        (Batched, "predict_on_batch"),
    )
    def test_model_that_predicts_something_else_is_refused(self, cls, name):
        model, x = make(cls), self.normal(5, 4)
        for certify in (
            lambda model: certificates.certify(model, x, np.zeros(5)),
            lambda model: certificates.certified_radius(model, x),
        ):
            with self.assertRaisesRegex(ValueError, f"`{name}` of its own"):
                certify(model)
            plain = keras.Model(model.inputs, model.outputs)
            self.assertAllClose(plain.predict(x, verbose=0), model(x))
            certify(plain)

    def test_callback_may_change_a_layer_and_predict(self):
        if keras.backend.backend() == "jax":
            self.skipTest("Variables have no values during an evaluation.")
        model, x = make(models.LipschitzSequential), self.normal(4, 4)
        model.add(keras.layers.Rescaling(1.0))
        model.compile("sgd", "mse")

        def change(batch, logs):
            model.layers[-1].scale += 1.0
            self.assertAllClose(model.predict(x, verbose=0), model(x))

        callback = keras.callbacks.LambdaCallback(on_test_batch_end=change)
        for _ in range(2):
            model.evaluate(
                x,
                np.zeros((4, 3)),
                batch_size=2,
                verbose=0,
                callbacks=[callback],
            )

    def test_method_that_is_set_on_a_model_is_refused(self):
        model = make(models.LipschitzSequential)
        certificates.certified_radius(model, self.normal(2, 4))
        model.predict = types.MethodType(lambda self, x: -self(x), model)
        with self.assertRaisesRegex(ValueError, "`predict` of its own"):
            certificates.certified_radius(model, self.normal(2, 4))

    @parameterized.named_parameters(
        ("scale", lambda model: setattr(model.layers[0], "scale", -1.0)),
        ("factor", lambda model: setattr(model.layers[2], "factor", 0.5)),
        ("pop", lambda model: model.pop()),
        ("add", lambda model: model.add(keras.layers.Rescaling(-2.0))),
        ("adapt", lambda model: model.layers[1].adapt(np.eye(4) + 5.0)),
        (
            "activation",
            lambda model: setattr(
                model.layers[3], "activation", keras.activations.relu
            ),
        ),
    )
    def test_predict_computes_with_current_settings(self, change):
        """A compiled step contains those of its first call."""
        normalization = keras.layers.Normalization()
        normalization.adapt(self.normal(20, 4))
        model = models.LipschitzSequential(
            [
                keras.Input((4,)),
                keras.layers.Rescaling(2.0),
                normalization,
                layers.LipschitzScale(3.0),
                layers.OrthogonalDense(4, activation="tanh"),
            ]
        )
        x = self.normal(6, 4)
        before = model.predict(x, verbose=0)
        self.assertAllClose(before, model(x))
        for _ in range(2):
            change(model)
            self.assertAllClose(model.predict(x, verbose=0), model(x))
            self.assertAllClose(model.predict_on_batch(x), model(x))
        self.assertGreater(abs(before - model.predict(x, verbose=0)).max(), 0.1)
