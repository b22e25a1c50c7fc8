import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.models import LipschitzModel
from keras_lip.models.from_keras import from_keras
from keras_lip.models.importing.conversion import Conversion
from tests.lipschitz_test_case import to_numpy
from tests.models.from_keras_test_case import NORMALIZE
from tests.models.from_keras_test_case import FromKerasTestCase
from tests.models.from_keras_test_case import actions


class FromKerasLayersTest(FromKerasTestCase):
    @parameterized.parameters("batch", "axis", "activation", "two uses")
    def test_batch_normalization_is_kept_where_it_cannot_be_folded(self, why):
        inputs = keras.Input((4, 4))
        act = "relu" if why == "activation" else None
        features = layers.Dense(4, activation=act)(inputs)
        axis = 1 if why == "axis" else -1
        outputs = layers.BatchNormalization(axis=axis, name="norm")(features)
        if why == "two uses":
            outputs = layers.Concatenate()([outputs, features])
        if why == "batch":
            outputs = layers.BatchNormalization(name="second")(outputs)
        stock = self.randomize(keras.Model(inputs, outputs))
        conversion = from_keras(stock, **NORMALIZE)
        kept = "second" if why == "batch" else "norm"
        self.assertIn((kept, "kept"), actions(conversion))
        x = self.normal(2, 4, 4)
        new = conversion.scale * to_numpy(conversion.model(x))
        self.assertAllClose(new, stock(x), 1e-4)

    def test_batch_normalization_is_folded_into_a_transposed_convolution(self):
        stock = self.randomize(
            keras.Sequential(
                [
                    keras.Input((2, 2, 4)),
                    layers.Conv2DTranspose(2, 2, strides=2, use_bias=False),
                    layers.BatchNormalization(center=False, scale=False),
                ]
            )
        )
        conversion = from_keras(stock, "aol")
        self.assertEqual(conversion.layers[1].action, "folded")
        (_, layer) = conversion.model.layers
        norm = stock.layers[1]
        factor = 1 / np.sqrt(to_numpy(norm.moving_variance) + norm.epsilon)
        self.assertAllClose(
            layer.free_kernel,
            to_numpy(stock.layers[0].kernel) * factor[:, None],
            1e-5,
        )
        scale = conversion.layers[0].scale
        self.assertAllClose(
            layer.bias, -to_numpy(norm.moving_mean) * factor / scale, 1e-5
        )

    @parameterized.parameters(
        (layers.Conv1D(4, 3, dilation_rate=2, padding="same"), (6, 2)),
        (layers.Conv2D(4, 3, strides=2, padding="same", groups=2), (5, 5, 2)),
        (layers.Conv2DTranspose(3, 3, strides=2, padding="same"), (3, 3, 2)),
        (layers.Conv2DTranspose(2, 2, strides=2, use_bias=False), (2, 2, 4)),
    )  # fmt: skip
    def test_convolution_of_orthogonal_kernel_keeps_its_function(
        self, layer, shape
    ):
        layer = type(layer).from_config(layer.get_config())
        stock = keras.Sequential([keras.Input(shape), layer])
        size = layer.kernel.shape
        # Columns of unit norm that are orthogonal, in each group.
        columns = size[-1] // getattr(layer, "groups", 1)
        matrix = [
            self.orthogonal(int(np.prod(size[:-1])), columns)
            for _ in range(size[-1] // columns)
        ]
        layer.kernel.assign(np.concatenate(matrix, axis=-1).reshape(size))
        if layer.use_bias:
            layer.bias.assign(self.normal(layer.filters))
        conversion = from_keras(stock)
        (row,) = conversion.layers
        self.assertTrue(row.counterpart.startswith("RKO"))
        self.assertAllClose(row.moved, 0.0, 1e-5)
        x = self.normal(2, *shape)
        new = conversion.scale * to_numpy(conversion.model(x))
        # On PyTorch, a transposed convolution of Keras 3.12 is not that of the
        # other backends, as it warns.
        is_new = isinstance(layer, layers.Conv2DTranspose)
        with self.needs_newer_keras(when=is_new):
            self.assertAllClose(new, stock(x), 1e-5)

    def test_shared_layer_does_not_absorb_one_normalization(self):
        inputs = keras.Input((4,))
        dense = layers.Dense(4)
        norm = layers.BatchNormalization(name="norm")
        outputs = layers.Add()([norm(dense(inputs)), dense(-inputs)])
        stock = self.randomize(keras.Model(inputs, outputs))
        conversion = from_keras(stock, **NORMALIZE)
        self.assertIn(("norm", "kept"), actions(conversion))
        x = self.normal(8, 4)
        new = conversion.scale * to_numpy(conversion.model(x))
        self.assertAllClose(new, stock(x), 1e-4)

    def test_odd_channels_keep_their_activation(self):
        stock = keras.Sequential(
            [keras.Input((4,)), layers.Dense(3, "relu"), layers.LeakyReLU()]
        )
        conversion = from_keras(stock, activation="max_min")
        rows = conversion.layers
        self.assertEqual([e.action for e in rows[1:]], ["split", "kept"])
        self.assertEqual(rows[1].note, "no pairs of 3 channels")

    def test_channels_first_are_paired_along_their_axis(self):
        stock = keras.Sequential(
            [
                keras.Input((4, 3, 3)),
                layers.BatchNormalization(axis=1),
                layers.ReLU(name="relu"),
                layers.GlobalAveragePooling2D(data_format="channels_first"),
                layers.ReLU(name="flat"),
            ]
        )
        conversion = from_keras(stock, activation="max_min")
        axes = [
            conversion.model.get_layer(name).axis for name in ("relu", "flat")
        ]
        self.assertEqual(axes, [1, -1])

    def test_kernel_of_zeros_stays(self):
        stock = keras.Sequential([keras.Input((4,)), layers.Dense(4)])
        stock.set_weights([np.zeros((4, 4)), np.ones(4)])
        conversion = from_keras(stock, unit_norm_head=False)
        (row,) = conversion.layers
        self.assertEqual((row.moved, row.scale), (0.0, 1.0))
        self.assertAllClose(
            conversion.model(self.normal(8, 4)), np.ones((8, 4))
        )
        # The Cayley transform of zeros is the identity.
        conversion = from_keras(
            stock, parametrization="cayley", unit_norm_head=False
        )
        self.assertEqual(conversion.layers[0].moved, 1.0)

    def test_kernel_is_projected_and_its_way_is_measured(self):
        stock = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
        left, right = self.orthogonal(3, 3), self.orthogonal(3, 3)
        kernel = left @ np.diag([4.0, 2.0, 1.0]) @ right
        stock.set_weights([kernel, np.zeros(3)])
        conversion = from_keras(
            stock, parametrization="exponential", unit_norm_head=False
        )
        (row,) = conversion.layers
        (_, dense) = conversion.model.layers
        self.assertAllClose(dense.free_kernel, kernel, 1e-6)
        runs = to_numpy(dense.kernel).astype("float64")
        # |W| is sqrt(21), and that of an orthogonal kernel sqrt(3).
        self.assertAllClose(row.scale, np.sqrt(7.0), 1e-5)
        cosine = np.sum(kernel * runs) / np.sqrt(21 * 3)
        self.assertAllClose(row.moved, np.sqrt(2 - 2 * cosine), 1e-5, 1e-5)

        # With rows orthogonal but of different lengths, the nearest orthogonal
        # kernel is known: that of the rows made unit.
        stock.set_weights([np.diag([4.0, 2.0, 1.0]) @ right, np.zeros(3)])
        tall = from_keras(stock, parametrization="cayley")
        self.assertEqual(tall.layers[0].counterpart, "UnitNormDense")
        stock.set_weights([left @ np.diag([4.0, 2.0, 1.0]), np.zeros(3)])
        conversion = from_keras(stock, unit_norm_head=False)
        self.assertAllClose(conversion.model.layers[1].kernel, left, 1e-5)
        moved = np.sqrt(2 - 2 * 7 / np.sqrt(21 * 3))
        self.assertAllClose(conversion.layers[0].moved, moved, 1e-5)

    def test_orthogonal_kernels_stay_as_they_are(self):
        stock = keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(6, activation="relu", name="first"),
                layers.Dense(4, name="last"),
            ]
        )
        weights = [self.orthogonal(6, 6), self.normal(6)]
        weights += [self.orthogonal(6, 4), self.normal(4)]
        stock.set_weights(weights)
        conversion = from_keras(stock)
        self.assertIsInstance(conversion, Conversion)
        self.assertIsInstance(conversion.model, LipschitzModel)
        x = self.normal(8, 6)
        self.assertAllClose(conversion.model(x), stock(x), 1e-5)
        kinds = [each.counterpart for each in conversion.layers]
        self.assertEqual(
            kinds, ["OrthogonalDense", "Activation", "UnitNormDense"]
        )
        for each in (conversion.layers[0], conversion.layers[2]):
            self.assertAllClose(each.moved, 0.0, 1e-6)
            self.assertAllClose(each.scale, 1.0, 1e-6)
        self.assertAllClose(conversion.scale, 1.0, 1e-5)
        self.assertLess(conversion.lipschitz_bound, 1 + 1e-5)
        # The original is left as it is.
        for weight, before in zip(stock.get_weights(), weights, strict=True):
            self.assertAllClose(weight, before)

        # Kernels twice and three times as large: the function over six.
        weights[0], weights[2] = 2 * weights[0], 3 * weights[2]
        stock.set_weights(weights)
        conversion = from_keras(stock)
        self.assertAllClose(conversion.scale, 6.0, 1e-5, 1e-5)
        self.assertAllClose(6 * to_numpy(conversion.model(x)), stock(x), 1e-4)
        self.assertAllClose(conversion.layers[0].scale, 2.0, 1e-5)
        self.assertAllClose(conversion.layers[0].moved, 0.0, 1e-6)
