import keras
import numpy as np
import pytest
from absl.testing import parameterized

from keras_lip import layers
from tests.layers.every_layer import EVERY_LAYER
from tests.lipschitz_test_case import LipschitzTestCase

pytestmark = pytest.mark.slow


# One of each kind of computation: the compiler takes seconds for every layer.
TRAINED = (
    "AOLConv2D",
    "BCOPConv2D",
    "CayleyConv2D",
    "ConvexPotentialConv2D",
    "LayerStack",
    "LinfDense",
    "ProjectionPooling",
    "RKOConv2D",
    "SOCConv2D",
)


class CompiledLayersTest(LipschitzTestCase):
    def check_graph(self, layer, shape, training=True):
        """Compares with a single graph, in which another layer follows."""
        if keras.backend.backend() != "torch":
            self.skipTest("The test is of `torch.compile`.")
        import torch

        self.needs_newer_torch()
        x = keras.ops.convert_to_tensor(self.normal(2, *shape))
        last = layers.AbsoluteValue()

        def call(x):
            return last(layer(x, training=training))

        layer.build((None, *shape))
        weights = [np.array(weight) for weight in layer.get_weights()]
        expected = call(x)
        layer.set_weights(weights)
        torch._dynamo.reset()
        compiled = torch.compile(call, fullgraph=True, backend="eager")
        self.assertAllClose(compiled(x), expected, 1e-5, 1e-5)

    @parameterized.parameters(*TRAINED)
    def test_training_step_is_one_graph_on_torch(self, name):
        make, shape = EVERY_LAYER[name]
        self.check_graph(make(), shape)

    @parameterized.parameters("cholesky", "exponential")
    def test_parametrizations_are_in_one_graph_on_torch(self, name):
        layer = layers.OrthogonalDense(3, parametrization=name)
        self.check_graph(layer, (4,))

    @parameterized.parameters("CayleyConv2D", "OrthogonalDense")
    def test_inference_is_one_graph_on_torch(self, name):
        make, shape = EVERY_LAYER[name]
        self.check_graph(make(), shape, training=False)
