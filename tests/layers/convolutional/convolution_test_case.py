import keras
import numpy as np

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

# (channels, filters) and (height, width), for exactness against a matrix.
CHANNELS = ((2, 4), (4, 2), (3, 3))
IMAGES = ((6, 6), (4, 6))


class ConvolutionTestCase(LipschitzTestCase):
    def build(self, layer, image, channels):
        """Builds a layer with a random kernel, on an image of that size."""
        layer.build((None, *image, channels))
        for weight in layer.trainable_weights:
            weight.assign(self.normal(*weight.shape))
        return layer

    def matrix_of(self, layer, image, channels):
        """Returns the explicit matrix of a layer's linear map."""
        shape = (*image, channels)
        if not layer.built:
            layer.build((None, *shape))
        # The last input is zero, and its output what is added to all others.
        inputs = np.eye(np.prod(shape) + 1, np.prod(shape), dtype="float32")
        outputs = self.compile_call(layer)(inputs.reshape(-1, *shape))
        outputs = to_numpy(outputs).reshape(len(inputs), -1)
        return (outputs[:-1] - outputs[-1]).T.astype("float64")

    def check_norm(self, layer, image, channels, tolerance=1e-5):
        """Checks the norm and the bound of a layer against its matrix.

        Returns:
            Array of the singular values.
        """
        values = self.singular_values(self.matrix_of(layer, image, channels))
        bound = layer.lipschitz_bound()
        self.assertLessEqual(values.max(), bound * (1 + 1e-6))
        if tolerance is not None:
            self.assertLessEqual(values.max(), 1 + tolerance)
        return values

    def check_data_formats_agree(self, layer_cls, **init_kwargs):
        """The same weights give the same function, channels first or last."""
        x = self.normal(2, 4, 6, 3)
        last = layer_cls(data_format="channels_last", **init_kwargs)
        first = layer_cls(data_format="channels_first", **init_kwargs)
        expected = last(x)
        first.build((None, 3, 4, 6))
        first.set_weights(last.get_weights())
        outputs = first(np.moveaxis(x, -1, 1))
        self.assertEqual(
            first.compute_output_shape((None, 3, 4, 6)),
            (None, *outputs.shape[1:]),
        )
        self.assertAllClose(np.moveaxis(to_numpy(outputs), 1, -1), expected)
        stock = first.to_keras_layer(proven=False)
        self.assertAllClose(stock(np.moveaxis(x, -1, 1)), outputs, 1e-5)

    def check_unknown_sizes(self, layer_cls, **init_kwargs):
        """A layer built for any image size takes them all."""
        inputs = keras.Input((None, None, 3))
        model = keras.Model(inputs, layer_cls(**init_kwargs)(inputs))
        for side in (6, 9):
            x = self.normal(2, side, 8, 3)
            self.assertEqual(tuple(model(x).shape[:3]), (2, side, 8))
        self.assertIsInstance(model.layers[-1], layers.LipschitzLayer)
