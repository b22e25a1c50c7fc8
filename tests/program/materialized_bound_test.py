import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.bounds import lipschitz_bound
from keras_lip.held_values import compute_once
from keras_lip.models import materialize
from keras_lip.program import freeze
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class MaterializedBoundTest(LipschitzTestCase):
    def make_model(self, layer, shape):
        model = keras.Sequential([keras.Input(shape), layer])
        for weight in layer.trainable_weights:
            weight.assign(weight + 0.1 * self.normal(*weight.shape))
        return model

    @parameterized.parameters(
        (layers.SLLDense, {}, (4,)),
        (layers.SandwichDense, {}, (4,)),
        (layers.ConvexPotentialConv2D, {"step": 3.0}, (3, 3, 2)),
        (layers.SLLConv2D, {"padding_mode": "zeros"}, (3, 3, 2)),
        (layers.SLLConv2D, {"padding_mode": "circular"}, (3, 3, 2)),
    )
    def test_stock_form_holds_the_numbers_of_the_layer(
        self, layer_cls, kwargs, shape
    ):
        size = () if len(shape) == 1 else (2,)
        layer = layer_cls(3, *size, **kwargs)
        self.make_model(layer, shape)
        stock = layer.to_keras_layer()
        there, back = (to_numpy(each) for each in compute_once(layer)[:2])
        back = np.flip(np.swapaxes(back, -2, -1), range(back.ndim - 2))
        up, down = (each for each in stock.layers if hasattr(each, "kernel"))
        self.assertAllClose(up.kernel, there, 0, 0)
        self.assertAllClose(down.kernel, back, 0, 0)

    # Blocks are known by what they are as a whole, in the stock form too.
    @parameterized.parameters(
        (layers.AbsoluteValue, {}, (4,)),
        (layers.FullSort, {}, (4,)),
        (layers.GroupSort, {"group_size": 4}, (8,)),
        (layers.MaxMin, {}, (4,)),
        (layers.MaxMin, {"axis": 1}, (4, 3)),
        (layers.PadChannels, {"channels": 6}, (4,)),
        (layers.TruncateChannels, {"channels": 3}, (4,)),
        (layers.InvertibleDownsampling2D, {"pool_size": 2}, (4, 4, 1)),
        (layers.InvertibleUpsampling2D, {"pool_size": 2}, (2, 2, 4)),
        (layers.OrthogonalDense, {"units": 3}, (4,)),
        (layers.ConvexPotentialDense, {"hidden_units": 3}, (4,)),
        (layers.ConvexPotentialDense, {"hidden_units": 3, "step": 3.0}, (4,)),
        (layers.SLLDense, {"hidden_units": 3}, (4,)),
        (layers.SkewFlowDense, {"hidden_units": 3}, (4,)),
        (
            layers.ConvexPotentialConv2D,
            {"hidden_filters": 3, "kernel_size": 2, "step": 3.0},
            (3, 3, 2),
        ),
        *(
            (
                layers.SLLConv2D,
                {"hidden_filters": 3, "kernel_size": 2, "padding_mode": mode},
                (3, 3, 2),
            )
            for mode in ("zeros", "circular")
        ),
        *(
            (layer_cls, {"filters": 3, "kernel_size": 2} | kwargs, (4, 4, 2))
            for layer_cls in (
                layers.AOLConv2D,
                layers.BCOPConv2D,
                layers.OSSNConv2D,
                layers.RKOConv2D,
                layers.SVCMConv2D,
            )
            for kwargs in (
                {},
                {"padding_mode": "circular", "activation": "sigmoid"},
                {"padding_mode": "circular", "strides": 2},
            )
            if "strides" not in kwargs
            or layer_cls in (layers.AOLConv2D, layers.RKOConv2D)
        ),
    )
    def test_materialized_model_has_the_bound_of_the_original(
        self, layer_cls, kwargs, shape
    ):
        model = self.make_model(layer_cls(**kwargs), shape)
        stock = materialize(model)
        bound = lipschitz_bound(model)
        # A layer is bounded for images of any size.
        rounded = model.layers[0].lipschitz_bound() * (1 + 1e-9)
        self.assertLessEqual(bound, rounded)
        self.assertEqual(lipschitz_bound(stock), bound)
        x = self.normal(3, *shape)
        self.assertAllClose(freeze(stock).run(x), freeze(model).run(x))

    def test_bound_is_of_the_numbers_that_the_stock_form_holds(self):
        layer = layers.AOLConv2D(3, 2, padding_mode="circular")
        model = self.make_model(layer, (4, 4, 2))
        stock = materialize(model)
        (convolution,) = (x for x in stock.layers if hasattr(x, "kernel"))
        convolution.kernel.assign(3 * to_numpy(convolution.kernel))
        self.assertAlmostEqual(
            lipschitz_bound(stock), 3 * lipschitz_bound(model), delta=1e-3
        )

    def test_sandwich_is_bounded_by_its_parts_in_the_stock_form(self):
        # Its balance is not written down there.
        layer = layers.SandwichDense(3)
        model = self.make_model(layer, (4,))
        bound = lipschitz_bound(model)
        self.assertEqual(bound, layer.lipschitz_bound())
        self.assertAlmostEqual(bound, 1.0, delta=1e-5)
        stock = materialize(model)
        product = 1.0
        for part in (x for x in stock.layers if hasattr(x, "kernel")):
            product *= self.singular_values(part.kernel).max()
        self.assertAlmostEqual(lipschitz_bound(stock), product, delta=1e-5)
        self.assertGreater(product, bound)

    def test_block_of_other_numbers_is_bounded_by_its_parts(self):
        # Not the adjoint of the way there: no more is known than of a sum.
        layer = layers.ConvexPotentialDense(3)
        stock = materialize(self.make_model(layer, (4,)))
        self.assertAlmostEqual(lipschitz_bound(stock), 1.0, delta=1e-5)
        up, down = (x for x in stock.layers if hasattr(x, "kernel"))
        down.kernel.assign(-to_numpy(down.kernel))
        product = 1.0
        for part in up, down:
            product *= self.singular_values(part.kernel).max()
        (step,) = (s.node.step for s in freeze(layer_model(layer)).steps)
        expected = 1 + step * product
        self.assertAlmostEqual(lipschitz_bound(stock), expected, delta=1e-4)
        self.assertLipschitz(stock, (4,), expected)


def layer_model(layer):
    inputs = keras.Input((4,))
    return keras.Model(inputs, layer(inputs))
