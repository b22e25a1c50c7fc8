"""What the tests of rules share: layers held against explicit matrices."""

import math

import keras
import numpy as np

from keras_lip.bounds import lipschitz_bound
from keras_lip.program import freeze
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

# Outputs are float32: a norm made of them is off by this much of it, at most.
ROUNDING = 1e-5


class RuleTestCase(LipschitzTestCase):
    def draw(self, shape, dtype=None):
        """Initializes weights, without a program that JAX must compile."""
        return self.normal(*shape)

    def make_model(self, layer, *input_shape):
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, layer(inputs))

    def bound(self, layer, *input_shape):
        return lipschitz_bound(self.make_model(layer, *input_shape))

    def exact_norm(self, model):
        """Returns the norm of an affine model, from its explicit matrix."""
        shape = model.input_shape[1:]
        size = math.prod(shape)
        points = np.concatenate([np.eye(size), np.zeros((1, size))])
        points = points.reshape(-1, *shape).astype("float32")
        outputs = to_numpy(model(points))
        # The rules rely on the shapes that Keras infers.
        self.assertEqual(outputs.shape, (size + 1, *model.output_shape[1:]))
        self.assertSame(freeze(model).run(points), outputs)
        outputs = outputs.reshape(size + 1, -1).astype("float64")
        return self.singular_values(outputs[:-1] - outputs[-1:]).max()

    def assertSame(self, computed, outputs):
        """The program computes what the layer does."""
        largest = np.max(np.abs(outputs), initial=0.0)
        self.assertEqual(computed.shape, outputs.shape)
        self.assertAllClose(computed, outputs, ROUNDING * largest, ROUNDING)

    def assertBounded(self, model, slack=None):
        """The bound is no less than the norm, nor more than `slack` of it."""
        exact, bound = self.exact_norm(model), lipschitz_bound(model)
        self.assertLessEqual(exact, bound * (1 + ROUNDING))
        if slack is not None:
            self.assertLessEqual(bound, exact * (1 + slack))

    def assertSlope(self, layer, *input_shape):
        """The bound is the steepest slope of an elementwise layer."""
        model = self.make_model(layer, *input_shape)
        grid = np.linspace(-4, 4, 801, dtype="float32")
        points = np.broadcast_to(
            grid.reshape(-1, *[1] * len(input_shape)), (801, *input_shape)
        )
        outputs = to_numpy(model(points)).astype("float64")
        self.assertSame(freeze(model).run(points), outputs)
        slopes = np.abs(np.diff(outputs, axis=0)).max() / 0.01
        # A step of 0.01 hides some of a curve, and float32 adds to a line.
        self.assertAlmostEqual(slopes, lipschitz_bound(model), delta=0.02)
        self.assertLessEqual(slopes, lipschitz_bound(model) * (1 + 1e-3))
