"""Every layer at weights that no training should reach, and some does."""

import inspect

import keras
import numpy as np
import pytest
from absl.testing import parameterized
from keras import ops

from keras_lip import bounds
from keras_lip import layers
from keras_lip.autodiff import gradient
from keras_lip.held_values import holding_values
from keras_lip.models import LipschitzSequential
from keras_lip.models import materialize
from keras_lip.program import freeze
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

pytestmark = pytest.mark.slow


IMAGE, SEQUENCE, VECTOR = (4, 4, 2), (5, 2), (4,)

# Class, arguments, shape of a sample; the bound that is promised, up to what an
# estimate of the norm may miss, or `None` for weights that are free.
LAYERS = {
    "aol_conv_1d": (layers.AOLConv1D, (3, 3), {}, SEQUENCE, 1.0),
    "aol_conv_2d": (layers.AOLConv2D, (3, 3), {}, IMAGE, 1.0),
    "aol_conv_2d_transpose": (layers.AOLConv2DTranspose, (3, 3), {}, IMAGE, 1),
    "batch_centering": (layers.BatchCentering, (), {}, VECTOR, 1.0),
    "bcop_conv_1d": (layers.BCOPConv1D, (3, 3), {}, SEQUENCE, 1.0),
    "bcop_conv_2d": (layers.BCOPConv2D, (3, 3), {}, IMAGE, 1.0),
    "bcop_conv_2d_bjorck": (
        *(layers.BCOPConv2D, (3, 3), {"parametrization": "bjorck"}),
        *(IMAGE, 1.0),
    ),
    "bcop_conv_2d_transpose": (
        *(layers.BCOPConv2DTranspose, (3, 3), {}, IMAGE, 1.0),
    ),
    "cayley_conv_2d": (layers.CayleyConv2D, (2, 3), {}, IMAGE, 1.0),
    "lot_conv_2d": (layers.LOTConv2D, (2, 3), {}, IMAGE, None),
    "cayley_conv_2d_tall": (layers.CayleyConv2D, (1, 3), {}, IMAGE, 1.0),
    "cayley_conv_2d_wide": (layers.CayleyConv2D, (3, 3), {}, IMAGE, 1.0),
    "convex_potential_conv_2d": (
        *(layers.ConvexPotentialConv2D, (3, 3), {}, IMAGE, 1.1),
    ),
    "convex_potential_dense": (
        *(layers.ConvexPotentialDense, (5,), {}, VECTOR, 1.1),
    ),
    "curvature_head": (layers.CurvatureHead, (3, 5), {}, VECTOR, None),
    "fixed_step": (
        *(layers.ConvexPotentialDense, (5,), {"step": 0.5}, VECTOR, None),
    ),
    "householder": (layers.Householder, (2,), {}, VECTOR, 1.0),
    "layer_stack": (
        *(layers.LayerStack, (layers.ConvexPotentialDense(5), 2), {}),
        *(VECTOR, 1.1),
    ),
    "linf_dense": (layers.LinfDense, (3,), {}, VECTOR, 1.0),
    "ossn_conv_2d": (layers.OSSNConv2D, (3, 3), {}, IMAGE, 1.1),
    "rko_conv_1d": (layers.RKOConv1D, (3, 3), {}, SEQUENCE, 1.0),
    "rko_conv_2d": (layers.RKOConv2D, (3, 3), {}, IMAGE, 1.0),
    "rko_conv_2d_transpose": (layers.RKOConv2DTranspose, (3, 3), {}, IMAGE, 1),
    "sandwich_dense": (layers.SandwichDense, (3,), {}, VECTOR, 1.0),
    "skew_flow_conv_2d": (layers.SkewFlowConv2D, (3, 3), {}, IMAGE, 1.1),
    "skew_flow_dense": (layers.SkewFlowDense, (5,), {}, VECTOR, 1.1),
    "sll_conv_2d": (layers.SLLConv2D, (3, 3), {}, IMAGE, 1.0),
    "sll_dense": (layers.SLLDense, (5,), {}, VECTOR, 1.0),
    "soc_conv_2d": (layers.SOCConv2D, (2, 3), {}, IMAGE, 1.0),
    "svcm_conv_2d": (layers.SVCMConv2D, (3, 3), {}, IMAGE, 1.1),
    "unit_norm_dense": (layers.UnitNormDense, (4,), {}, VECTOR, 2.0),
    **{
        f"orthogonal_dense_{name}": (
            *(layers.OrthogonalDense, (3,), {"parametrization": name}),
            *(VECTOR, 1.0),
        )
        for name in ("bjorck", "cayley", "cholesky", "exponential", "qr")
    },
    **{
        f"lipschitz_dense_{name}": (
            *(layers.LipschitzDense, (3,), {"parametrization": name}),
            *(VECTOR, 1.1),
        )
        for name in ("aol", "frobenius", "spectral")
    },
}

# What roundings may add to a bound.
SLACK = 2e-4


class DegenerateWeightsTest(LipschitzTestCase):
    def make(self, name):
        layer_cls, arguments, kwargs, shape, promised = LAYERS[name]
        layer = layer_cls(*arguments, **kwargs)
        model = LipschitzSequential([keras.Input(shape), layer])
        return layer, model, shape, promised

    def weights(self, shape):
        """Yields arrays of a shape by what is wrong with them."""
        ordinary = self.normal(*shape)
        rows = ordinary.reshape(-1, shape[-1])
        yield "zero", np.zeros(shape)
        yield "tiny", 1e-30 * ordinary
        yield "huge", 1e18 * ordinary
        yield "constant", np.ones(shape)
        yield "rank one", np.outer(rows[:, 0], rows[0]).reshape(shape)

    def slope(self, layer, x, factors):
        """Returns the gradient by all trained weights, and by the inputs."""
        weights = layer.trainable_variables
        state = list(map(ops.copy, layer.non_trainable_variables))
        sizes = [int(np.prod(weight.shape)) for weight in weights]
        takes_training = "training" in inspect.signature(layer.call).parameters
        kwargs = {"training": True} if takes_training else {}

        def loss(flat):
            parts = ops.split(flat, np.cumsum([x.size, *sizes])[:-1].tolist())
            inputs, *values = (
                ops.reshape(part, shape)
                for part, shape in zip(
                    parts, [x.shape, *(w.shape for w in weights)], strict=True
                )
            )
            outputs, _ = layer.stateless_call(values, state, inputs, **kwargs)
            return ops.sum(ops.multiply(outputs, factors))

        values = [x, *map(to_numpy, weights)]
        flat = np.concatenate([value.ravel() for value in values])
        return to_numpy(gradient(loss, ops.convert_to_tensor(flat)))

    @parameterized.parameters(*LAYERS)
    def test_layer_stays_finite_and_its_bound_true(self, name):
        layer, model, shape, promised = self.make(name)
        x = self.normal(4, *shape)
        trained = layer.trainable_variables
        choices = [dict(self.weights(tuple(w.shape))) for w in trained]
        for kind in choices[0]:
            with self.subTest(kind):
                for weight, arrays in zip(trained, choices, strict=True):
                    # Biases stay ordinary, as what small kernels are held by.
                    is_bias = "bias" in weight.name
                    weight.assign(
                        np.ones(weight.shape) if is_bias else arrays[kind]
                    )
                outputs = to_numpy(model(x))
                self.assertTrue(np.isfinite(outputs).all())
                slope = self.slope(layer, x, self.normal(*outputs.shape))
                # What optimizers square does not overflow.
                limit = 1e15 if promised else np.inf
                self.assertLess(np.abs(slope).max(), limit)
                with holding_values({}):
                    self.check_bound(layer, model, x, promised)
                    if kind == "zero":
                        stock = to_numpy(materialize(model)(x))
                        self.assertAllClose(stock, outputs, 1e-5, 1e-5)

    def check_bound(self, layer, model, x, promised):
        bound = layer.lipschitz_bound()
        self.assertTrue(np.isfinite(bound))
        if promised is not None:
            self.assertLessEqual(bound, promised + SLACK)
        outputs = to_numpy(model(x)).astype("float64")
        apart = (outputs[0] - outputs[1]).ravel()
        order = np.inf if layer.norms == ("linf",) else 2
        distance = np.linalg.norm((x[0] - x[1]).ravel(), order)
        roundings = 1e-5 * np.abs(outputs).max()
        self.assertLessEqual(
            np.linalg.norm(apart, order), bound * distance + roundings
        )
        # Proofs are of what runs.
        size = 1 + np.abs(outputs).max()
        exact = freeze(model).run(x)
        self.assertAllClose(exact / size, outputs / size, 1e-5)

    # One of each way to keep a norm, as each is compiled.
    @parameterized.parameters(
        "convex_potential_conv_2d",
        "layer_stack",
        "lipschitz_dense_aol",
        "orthogonal_dense_cayley",
        "sandwich_dense",
        "skew_flow_dense",
        "sll_dense",
        "soc_conv_2d",
    )
    def test_layer_survives_steps_of_a_million(self, name):
        layer, model, shape, promised = self.make(name)
        x = self.normal(4, *shape)
        y = self.normal(*model(x).shape)
        model.compile(keras.optimizers.SGD(1e6), "mse")
        for _ in range(2):
            model.train_on_batch(x, y)
        for weight in layer.weights:
            self.assertTrue(np.isfinite(to_numpy(weight)).all())
        self.assertTrue(np.isfinite(bounds.lipschitz_bound(model)))
        self.check_bound(layer, model, x, promised)
