import keras
import numpy as np
import pytest
from absl.testing import parameterized

from keras_lip import layers
from keras_lip import losses
from keras_lip import metrics
from keras_lip import models
from keras_lip.certificates import certify
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

ON_JAX = pytest.mark.skipif(
    keras.backend.backend() != "jax",
    reason="Keras takes the weights from a model on JAX alone.",
)


class Failing(keras.callbacks.Callback):
    """Stops a call at its second batch."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise KeyboardInterrupt

    on_test_batch_end = on_predict_batch_end = on_train_batch_end


class KeptWeightsTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.x, self.y = self.normal(12, 4), np.arange(12) % 3

    def make_model(self, model_class=models.LipschitzSequential, loss=None):
        model = model_class(
            [
                keras.Input((4,)),
                layers.OrthogonalDense(4),
                layers.UnitNormDense(3),
            ]
        )
        model.compile(
            keras.optimizers.Adam(0.1),
            loss or "sparse_categorical_crossentropy",
            metrics=[metrics.CertifiedAccuracy(0.1)],
        )
        model.fit(self.x, self.y, batch_size=4, verbose=0)
        return model

    def read(self, model):
        return [to_numpy(each).copy() for each in model.weights]

    @parameterized.product(
        name=["fit", "evaluate", "predict"], wrong=["inputs", "labels"]
    )
    def test_wrong_arguments_lose_no_weights(self, name, wrong):
        model = self.make_model()
        # On JAX, other functions run with a state of their own.
        model.evaluate(self.x, self.y, verbose=0)
        expected, outputs = self.read(model), model.predict(self.x, verbose=0)
        arguments = [self.x, self.y]
        if wrong == "inputs":
            arguments[0] = self.x[:, :3]
        elif name == "predict":
            self.skipTest("`predict` takes no labels.")
        else:
            arguments[1] = np.ones((12, 5))
        if name == "predict":
            arguments.pop()
        with self.assertRaises(Exception) as caught:
            getattr(model, name)(*arguments, batch_size=4, verbose=0)
        self.assertNotIn("NoneType", str(caught.exception))
        for one, other in zip(self.read(model), expected, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(model.predict(self.x, verbose=0), outputs)
        model.fit(self.x, self.y, verbose=0)

    @parameterized.parameters("fit", "evaluate", "predict")
    def test_interrupted_call_keeps_what_it_did(self, name):
        model = self.make_model()
        expected = self.read(model)
        arguments = [self.x, self.y] if name != "predict" else [self.x]
        with self.assertRaises(KeyboardInterrupt):
            getattr(model, name)(
                *arguments, batch_size=4, verbose=0, callbacks=[Failing()]
            )
        trained = name == "fit"
        steps = int(to_numpy(model.optimizer.iterations))
        self.assertEqual(steps, 5 if trained else 3)
        for one, other in zip(self.read(model), expected, strict=True):
            self.assertEqual(np.array_equal(one, other), not trained)
        model.evaluate(self.x, self.y, verbose=0)

    @parameterized.parameters(
        "sparse_categorical_crossentropy", losses.EMMA(0.1)
    )
    @ON_JAX
    def test_steps_of_a_user_need_a_scope(self, loss):
        """Keras's guide calls `compute_loss` outside of it."""
        import jax

        class Guided(models.LipschitzSequential):
            in_scope = True

            def compute_loss_and_state(self, trainable, others, counts, x, y):
                outputs, others = self.stateless_call(
                    trainable, others, x, training=True
                )
                if self.in_scope:
                    loss, (_, _, counts) = self.stateless_compute_loss(
                        *(trainable, others, counts),
                        *(x, y, outputs),
                        training=True,
                    )
                else:
                    loss = self.compute_loss(x, y, outputs)
                return loss, (outputs, others, counts)

            def train_step(self, state, data):
                trainable, others, slots, counts = state
                (loss, aux), gradients = jax.value_and_grad(
                    self.compute_loss_and_state, has_aux=True
                )(trainable, others, counts, *data)
                outputs, others, counts = aux
                trainable, slots = self.optimizer.stateless_apply(
                    slots, gradients, trainable
                )
                logs, counts = self._update_metrics_variables(
                    counts, loss, *data, outputs, None
                )
                return logs, (trainable, others, slots, counts)

        model = self.make_model(Guided, loss)
        history = model.fit(self.x, self.y, epochs=20, verbose=0).history
        self.assertGreater(max(history["certified_accuracy"]), 0.0)
        self.assertAllClose(
            model.evaluate(self.x, self.y, verbose=0)[1],
            certify(model, self.x, self.y).certified_accuracy(0.1),
        )
        expected = self.read(model)
        model.in_scope = False
        model.make_train_function(force=True)
        with self.assertRaisesRegex(ValueError, "self.stateless_compute_loss"):
            model.fit(self.x, self.y, verbose=0)
        for one, other in zip(self.read(model), expected, strict=True):
            np.testing.assert_array_equal(one, other)
