import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.certificates.execution.block_bound import block_bound
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class BlockBoundTest(LipschitzTestCase):
    @parameterized.parameters(
        (layers.SLLDense, {}, (4,)),
        (layers.SandwichDense, {}, (4,)),
        (layers.ConvexPotentialConv2D, {"step": 3.0}, (3, 3, 2)),
        (layers.SLLConv2D, {"padding_mode": "zeros"}, (3, 3, 2)),
    )
    def test_stock_form_holds_the_numbers_of_the_layer(
        self, layer_cls, kwargs, shape
    ):
        size = () if len(shape) == 1 else (2,)
        layer = layer_cls(3, *size, **kwargs)
        keras.Sequential([keras.Input(shape), layer])
        stock = layer.to_keras_layer(audited=False)
        there, back = (to_numpy(kernel) for kernel in layer.compute_kernels())
        back = np.flip(np.swapaxes(back, -2, -1), range(back.ndim - 2))
        up, down = (each for each in stock.layers if hasattr(each, "kernel"))
        self.assertAllClose(up.kernel, there, 0, 0)
        self.assertAllClose(down.kernel, back, 0, 0)
        self.assertEqual(block_bound(layer, stock), layer.lipschitz_bound())

    def test_convolution_has_the_norm_of_its_kernel(self):
        layer = layers.AOLConv2D(3, 2)
        keras.Sequential([keras.Input((4, 4, 2)), layer])
        stock = layer.to_keras_layer(audited=False)
        self.assertEqual(block_bound(layer, stock), layer.lipschitz_bound())
        kernel = to_numpy(stock.layers[-1].kernel)
        stock.layers[-1].kernel.assign(3 * kernel)
        self.assertAlmostEqual(
            block_bound(layer, stock), 3 * layer.lipschitz_bound(), delta=1e-3
        )

    def test_other_blocks_are_those_of_their_parts(self):
        layer = layers.SkewFlowDense(3)
        keras.Sequential([keras.Input((4,)), layer])
        self.assertIsNone(block_bound(layer, layer.to_keras_layer()))
