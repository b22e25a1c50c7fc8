"""Stock classifiers to convert."""

import keras
import numpy as np
from keras import layers

from tests.lipschitz_test_case import LipschitzTestCase

# What moves no kernel: all of them are divided by their norms.
NORMALIZE = {
    "parametrization": "spectral",
    "convolution": "ossn",
    "unit_norm_head": False,
}


def actions(conversion):
    return [(each.name, each.action) for each in conversion.layers]


class FromKerasTestCase(LipschitzTestCase):
    def randomize(self, model):
        """Sets all weights to random ones, none of them near zero."""
        for weight in model.weights:
            size = self.rng.uniform(0.5, 1.5, weight.shape)
            sign = 1.0 if "variance" in weight.path else -1.0
            weight.assign(size * self.rng.choice([1.0, sign], weight.shape))
        return model

    def orthogonal(self, rows, columns):
        matrix, _ = np.linalg.qr(self.rng.normal(size=(rows, rows)))
        return matrix[:, :columns]

    def make_classifier(self, activation="relu"):
        return self.randomize(
            keras.Sequential(
                [
                    keras.Input((8, 8, 2)),
                    layers.Conv2D(4, 3, padding="same", name="conv"),
                    layers.BatchNormalization(name="folded"),
                    layers.ReLU(name="relu"),
                    layers.MaxPooling2D(2, name="pool"),
                    layers.Conv2D(
                        4, 2, strides=2, activation=activation, name="strided"
                    ),
                    layers.BatchNormalization(name="kept"),
                    layers.Flatten(name="flat"),
                    layers.Dense(3, name="dense"),
                    layers.Softmax(name="softmax"),
                ]
            )
        )

    def logits(self, stock):
        return keras.Model(stock.inputs[0], stock.get_layer("dense").output)
