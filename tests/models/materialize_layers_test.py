import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import bounds
from keras_lip import layers
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase

VECTOR, SIGNAL, IMAGE = (6,), (6, 2), (4, 4, 2)


def make_blocks():
    return ([layers.ConvexPotentialDense(5), layers.ConvexPotentialDense(4)],)


# Every public layer: its name, its arguments, the shape of its input.
CASES = (
    ("AOLConv1D", (4, 3), SIGNAL),
    ("AOLConv2D", (4, 3), IMAGE),
    ("AOLConv2DTranspose", (4, 3), IMAGE),
    ("AbsoluteValue", (), VECTOR),
    ("BCOPConv1D", (4, 3), SIGNAL),
    ("BCOPConv2D", (4, 3), IMAGE),
    ("BCOPConv2DTranspose", (4, 3), IMAGE),
    ("BatchCentering", (), VECTOR),
    ("CayleyConv2D", (4, 3), IMAGE),
    ("LOTConv2D", (4, 3), IMAGE),
    ("ConvexAdd", (), [VECTOR, VECTOR]),
    ("ConvexPotentialConv2D", (4, 3), IMAGE),
    ("ConvexPotentialDense", (5,), VECTOR),
    ("ConvexPotentialExpansion", make_blocks, VECTOR),
    ("CurvatureHead", (3, 5), VECTOR),
    ("FullSort", (), VECTOR),
    ("GlobalL2NormPooling2D", (), IMAGE),
    ("GlobalScaledAveragePooling2D", (), IMAGE),
    ("GroupSort", (3,), VECTOR),
    ("Householder", (2,), VECTOR),
    ("InvertibleDownsampling2D", (2,), IMAGE),
    ("InvertibleUpsampling2D", (2,), (4, 4, 8)),
    ("L2NormPooling2D", (2,), IMAGE),
    ("LayerCentering", (), VECTOR),
    ("LayerStack", lambda: (layers.OrthogonalDense(6), 2), VECTOR),
    ("LinfDense", (5,), VECTOR),
    ("LipschitzConcatenate", (), [VECTOR, VECTOR]),
    ("LipschitzDense", (5,), VECTOR),
    ("LipschitzScale", (2.0,), VECTOR),
    ("MaxChannelPooling", (), VECTOR),
    ("MaxMin", (), VECTOR),
    ("OSSNConv2D", (4, 3), IMAGE),
    ("OrthogonalDense", (5,), VECTOR),
    ("PadChannels", (8,), VECTOR),
    ("ProjectionPooling", (), VECTOR),
    ("RKOConv1D", (4, 3), SIGNAL),
    ("RKOConv2D", (4, 3), IMAGE),
    ("RKOConv2DTranspose", (4, 3), IMAGE),
    ("SLLConv2D", (4, 3), IMAGE),
    ("SLLDense", (5,), VECTOR),
    ("SOCConv2D", (4, 3), IMAGE),
    ("SVCMConv2D", (4, 3), IMAGE),
    ("SandwichDense", (5,), VECTOR),
    ("ScaledAveragePooling2D", (2,), IMAGE),
    ("SkewFlowConv2D", (2, 3), IMAGE),
    ("SkewFlowDense", (5,), VECTOR),
    ("TruncateChannels", (4,), VECTOR),
    ("UnitNormDense", (3,), VECTOR),
)

# With `proven=True` they get a proven scale, which for convolutions is that of
# images of any size, and thus are another function. With the one that they
# estimate they are the same.
ESTIMATED = {
    "ConvexPotentialConv2D",
    "ConvexPotentialDense",
    "ConvexPotentialExpansion",
    "LipschitzDense",
    "OSSNConv2D",
    "SVCMConv2D",
    "SkewFlowConv2D",
    "SkewFlowDense",
}


class MaterializeLayersTest(LipschitzTestCase):
    def test_no_public_layer_is_left_out(self):
        public = {
            name
            for name in dir(layers)
            if isinstance(getattr(layers, name), type)
        }
        self.assertEqual(
            {case[0] for case in CASES} | {"LipschitzLayer"}, public
        )

    @parameterized.parameters(*CASES)
    def test_stock_form_computes_what_the_layer_does(self, name, args, shape):
        shapes = shape if isinstance(shape, list) else [shape]
        inputs = [keras.Input(shape) for shape in shapes]
        layer = getattr(layers, name)(*(args() if callable(args) else args))
        inputs = inputs if len(inputs) > 1 else inputs[0]
        model = keras.Model(inputs, layer(inputs))
        for weight in layer.trainable_weights:
            # Zeros, as of biases, would hide what is forgotten.
            weight.assign(weight + 0.1 * self.normal(*weight.shape))
        x = [self.normal(8, *shape) for shape in shapes]
        x = x if len(x) > 1 else x[0]
        expected = model(x)
        for proven in (False, True):
            stock = layer.to_keras_layer(proven)
            self.assertStock(stock)
            if not proven or name not in ESTIMATED:
                self.assertAllClose(stock(x), expected, atol=1e-5, rtol=1e-5)
            if len(shapes) == 1:
                copy = models.materialize(model, proven)
                self.assertStock(copy)
                self.assertAllClose(copy(x), stock(x), atol=1e-6, rtol=1e-6)

    @parameterized.parameters(
        *(case for case in CASES if case[0] in sorted(ESTIMATED))
    )
    def test_proven_form_is_proven_not_to_expand(self, name, args, shape):
        layer = getattr(layers, name)(*(args() if callable(args) else args))
        model = keras.Sequential([keras.Input(shape), layer])
        for weight in layer.weights:
            # Estimates start far from where they go.
            weight.assign(self.normal(*weight.shape))
        stock = models.materialize(model, proven=True)
        # Up to what float32 makes of a kernel that is divided by its norm.
        self.assertLessEqual(bounds.lipschitz_bound(stock), 1 + 1e-6)
        self.assertLipschitz(stock, shape, 1.0)

    def test_what_cannot_be_traced_is_refused(self):
        class Net(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = layers.OrthogonalDense(6)

            def call(self, inputs):
                # Needs numbers where there are but symbols.
                if np.all(ops.convert_to_numpy(inputs) > 0):
                    return self.dense(inputs)
                return inputs

        net = Net()
        net(np.ones((1, 6)))
        with self.assertRaisesRegex(
            ValueError, "type `Net` cannot be traced .* functional API"
        ):
            models.materialize(net)
