"""Every layer at weights that no training should reach, and some does."""

import dataclasses
import inspect

import keras
import numpy as np
import pytest
from absl.testing import parameterized
from keras import ops

from keras_lip import bounds
from keras_lip.autodiff import gradient
from keras_lip.held_values import holding_values
from keras_lip.models import LipschitzSequential
from keras_lip.models import materialize
from keras_lip.program import freeze
from tests.layers.every_layer import CASES
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

pytestmark = pytest.mark.slow


def variant(name, *arguments, **options):
    """Returns the case of a layer with other arguments."""
    return dataclasses.replace(
        CASES[name], arguments=arguments, options=options
    )


# Every layer of one tensor that has weights, and more than one case of some.
LAYERS = {
    **{
        name: case
        for name, case in CASES.items()
        if case.weighted and not case.merges
    },
    # With four filters the bound of the first is a thousandth above its norm,
    # and the estimates of the others miss more than a tenth.
    **{
        name: variant(name, 3, 3)
        for name in ("RKOConv1D", "OSSNConv2D", "SVCMConv2D")
    },
    "bcop_conv_2d_bjorck": variant(
        "BCOPConv2D", 4, 3, parametrization="bjorck"
    ),
    "bro_conv_2d_square": variant("BROConv2D", 2, 3),
    "bro_conv_2d_tall": variant("BROConv2D", 1, 3),
    "bro_conv_2d_residual": variant("BROConv2D", 2, 3, residual_scale=0.5),
    "cayley_conv_2d_square": variant("CayleyConv2D", 2, 3),
    "cayley_conv_2d_tall": variant("CayleyConv2D", 1, 3),
    "fixed_step": dataclasses.replace(
        variant("ConvexPotentialDense", 3, step=0.5), promised=None
    ),
    "lot_conv_2d_square": variant("LOTConv2D", 2, 3),
    "soc_conv_2d_square": variant("SOCConv2D", 2, 3),
    **{
        f"orthogonal_dense_{name}": variant(
            "OrthogonalDense", 4, parametrization=name
        )
        for name in (
            "bjorck",
            "block_reflector",
            "cayley",
            "cholesky",
            "exponential",
            "qr",
        )
    },
    **{
        f"lipschitz_dense_{name}": variant(
            "LipschitzDense", 4, parametrization=name
        )
        for name in ("aol", "frobenius", "spectral")
    },
}

# What roundings may add to a bound.
SLACK = 2e-4


class DegenerateWeightsTest(LipschitzTestCase):
    def make(self, name):
        case = LAYERS[name]
        layer = case.make()
        model = LipschitzSequential([keras.Input(case.uneven), layer])
        return layer, model, case.uneven, case.limit

    def weights(self, shape):
        """Yields arrays of a shape by what is wrong with them."""
        ordinary = self.normal(*shape)
        rows = ordinary.reshape(-1, shape[-1])
        yield "zero", np.zeros(shape)
        yield "tiny", 1e-30 * ordinary
        yield "huge", 1e18 * ordinary
        yield "constant", np.ones(shape)
        yield "rank one", np.outer(rows[:, 0], rows[0]).reshape(shape)

    def make_slope(self, layer, x):
        """Returns a function of factors of the outputs.

        It returns the gradient by all trained weights, and by the inputs.
        """
        weights = layer.trainable_variables
        sizes = [int(np.prod(weight.shape)) for weight in weights]
        takes_training = "training" in inspect.signature(layer.call).parameters
        kwargs = {"training": True} if takes_training else {}

        def slope(flat, state, factors):
            def loss(flat):
                parts = ops.split(
                    flat, np.cumsum([x.size, *sizes])[:-1].tolist()
                )
                shapes = [x.shape, *(weight.shape for weight in weights)]
                inputs, *values = (
                    ops.reshape(part, shape)
                    for part, shape in zip(parts, shapes, strict=True)
                )
                outputs, _ = layer.stateless_call(
                    values, state, inputs, **kwargs
                )
                return ops.sum(ops.multiply(outputs, factors))

            return gradient(loss, flat)

        compiled = self.compile(slope)

        def call(factors):
            values = [x, *map(to_numpy, weights)]
            flat = np.concatenate([value.ravel() for value in values])
            state = list(map(ops.copy, layer.non_trainable_variables))
            flat, factors = map(ops.convert_to_tensor, (flat, factors))
            return to_numpy(compiled(flat, state, factors))

        return call

    @parameterized.parameters(*LAYERS)
    def test_layer_stays_finite_and_its_bound_true(self, name):
        layer, model, shape, promised = self.make(name)
        x = self.normal(4, *shape)
        slope = self.make_slope(layer, x)
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
                found = slope(self.normal(*outputs.shape))
                # What optimizers square does not overflow.
                limit = 1e15 if promised else np.inf
                self.assertLess(np.abs(found).max(), limit)
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
        "ConvexPotentialConv2D",
        "LayerStack",
        "lipschitz_dense_aol",
        "orthogonal_dense_cayley",
        "SandwichDense",
        "SkewFlowDense",
        "SLLDense",
        "SOCConv2D",
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
