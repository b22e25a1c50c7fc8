import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip.layers.initializers import get_initializer
from tests.layers.every_layer import WEIGHTED
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

IMAGE_KERNELS = tuple(
    name for name, (_, shape) in WEIGHTED.items() if len(shape) > 1
)
# Their kernels are of several shapes.
SEVERAL = ("BCOPConv1D", "BCOPConv2D", "BCOPConv2DTranspose")

# Theirs are matrices of channels.
OF_CHANNELS = ("LipNeXtBlock",)


def halves(shape, dtype=None):
    return np.full(shape, 0.5, dtype)


def build(name, initializer):
    make, shape = WEIGHTED[name]
    layer = make(kernel_initializer=initializer)
    layer.build((None, *shape))
    return layer


def kernel(layer):
    """The first weight, of a flow that of its potential."""
    return layer.weights[0]


class InitializersTest(LipschitzTestCase):
    @parameterized.parameters(*IMAGE_KERNELS)
    def test_kernels_of_images_start_as_they_are_told(self, name):
        shape = kernel(build(name, "ones")).shape
        initializers = [halves, keras.initializers.Constant(0.5)]
        if name not in SEVERAL:
            array = halves(shape, "float32")
            tensor = ops.convert_to_tensor(array)
            initializers += [array, tensor, keras.initializers.Constant(array)]
        for initializer in initializers:
            start = to_numpy(kernel(build(name, initializer)))
            np.testing.assert_array_equal(start, halves(shape))
        start = to_numpy(kernel(build(name, "orthogonal")))
        columns = start.reshape(-1, start.shape[-1])
        identity = np.eye(columns.shape[1])
        self.assertAllClose(columns.T @ columns, identity, 1e-5)

    @parameterized.parameters(
        *(name for name in IMAGE_KERNELS if name not in OF_CHANNELS)
    )
    def test_an_identity_of_images_is_refused(self, name):
        error = "identity initializer creates a matrix, but .*Use another init"
        with self.assertRaisesRegex(ValueError, error):
            build(name, "identity")

    def test_an_identity_is_a_start_of_matrices(self):
        layer = build("OrthogonalDense", "identity")
        self.assertAllClose(layer.free_kernel, np.eye(4), 0, 0)

    @parameterized.parameters("OrthogonalDense", *SEVERAL)
    def test_arrays_of_another_shape_are_refused(self, name):
        for array in (np.ones((1, 4)), np.ones((1, 4, 4)), np.ones((5, 4))):
            with self.assertRaisesRegex(ValueError, "must have its shape"):
                build(name, array)

    def test_arrays_are_saved(self):
        array = self.normal(4, 4)
        layer = layers.OrthogonalDense(4, kernel_initializer=array)
        copy = layers.OrthogonalDense.from_config(layer.get_config())
        copy.build((None, 4))
        self.assertAllClose(copy.free_kernel, array, 0, 0)

    def test_what_keras_knows_is_left_to_keras(self):
        self.assertIs(get_initializer(halves), halves)
        found = get_initializer("zeros")
        self.assertIsInstance(found, keras.initializers.Zeros)
        with self.assertRaisesRegex(ValueError, "nonsense"):
            get_initializer("nonsense")
