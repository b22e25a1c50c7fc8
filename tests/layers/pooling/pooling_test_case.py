"""What the tests of pooling layers share."""

import math

import numpy as np

from keras_lip.autodiff import gradient
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class PoolingTestCase(LipschitzTestCase):
    def matrix_norm(self, layer, *shape):
        """Returns the norm of a linear layer, from its explicit matrix."""
        size = math.prod(shape)
        points = np.eye(size, dtype="float32").reshape(size, *shape)
        outputs = to_numpy(layer(points)).reshape(size, -1)
        return self.singular_values(outputs).max()

    def gradient_norms(self, layer, x):
        """Returns the norms of each sample's gradient, of each output."""
        outputs = to_numpy(layer(x))
        norms = []
        for index in np.ndindex(outputs.shape[1:]):
            slopes = to_numpy(
                gradient(lambda t, i=index: layer(t)[(slice(None), *i)], x)
            )
            norms.append(
                np.linalg.norm(slopes.reshape(len(slopes), -1), axis=1)
            )
        return np.stack(norms)
