"""A model with a certified metric, and what the metric says of it."""

import keras

from keras_lip import certificates
from keras_lip import layers
from keras_lip import losses
from keras_lip import metrics
from keras_lip import models
from keras_lip.certificates.pair_bounds import bound_pairs
from keras_lip.program import freeze
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

EPSILON = 0.1


class CertifiedMetricTestCase(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.x = self.normal(64, 4)
        self.y = self.rng.integers(0, 3, 64)

    def make_stack(self):
        return [
            keras.layers.Rescaling(2.0),
            layers.OrthogonalDense(4),
            layers.MaxMin(),
            keras.layers.Dense(3),
        ]

    def make_model(self, metric=None, built=True, model_class=None, **kwargs):
        start = [keras.Input((4,))] if built else []
        model_class = model_class or models.LipschitzSequential
        model = model_class([*start, *self.make_stack()])
        metric = metric or metrics.CertifiedAccuracy(EPSILON)
        options = {"optimizer": "sgd", "metrics": [metric], **kwargs}
        model.compile(loss=losses.MulticlassHinge(), **options)
        return model

    def evaluate(self, model, **kwargs):
        options = {"batch_size": 16, "verbose": 0, **kwargs}
        return model.evaluate(self.x, self.y, **options)[1]

    def certified(self, model):
        report = certificates.certify(model, self.x, self.y)
        return report.certified_accuracy(EPSILON)

    def constants(self, model, metric):
        """The constants that a metric has during an evaluation."""
        seen = []

        def look(logs):
            (found,) = (v for v in metric.variables if v.name == "pair_bounds")
            seen.append(to_numpy(found).astype("float64"))

        callback = keras.callbacks.LambdaCallback(on_test_end=look)
        self.evaluate(model, callbacks=[callback])
        return seen[-1]

    def pair_bounds(self, model):
        program = freeze(model)
        return bound_pairs(program, program.bounds("l2")).matrix

    def assertEvaluated(self, model, **kwargs):
        expected = self.certified(model)
        self.assertBetween(expected, 0.01, 0.99)
        self.assertAllClose(self.evaluate(model, **kwargs), expected)
