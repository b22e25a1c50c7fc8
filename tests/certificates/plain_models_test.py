import keras
import numpy as np
from keras import ops

from keras_lip import certificates
from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class PlainModelsTest(LipschitzTestCase):
    """What was refused, though it is plain."""

    def certify(self, model, shape):
        x = self.normal(4, *shape)
        report = certificates.certify(model, x, [0, 1, 2, 0])
        self.assertTrue(np.all(report.radius > 0))
        return report

    def test_one_layer_at_several_shapes(self):
        shared = (
            keras.layers.AveragePooling2D(2),
            keras.layers.Conv2D(4, 3),
            keras.layers.MaxPooling2D(2),
            layers.AOLConv2D(4, 3),
            layers.GlobalL2NormPooling2D(),
            layers.GlobalScaledAveragePooling2D(),
            layers.GroupSort(2),
            layers.L2NormPooling2D(2),
            layers.MaxChannelPooling(),
            layers.MaxMin(),
            layers.RKOConv2D(4, 3),
        )
        for layer in shared:
            with self.subTest(layer=layer.name):
                inputs = keras.Input((6, 6, 4))
                small = layer(keras.layers.Cropping2D(1)(inputs))
                flat = [
                    keras.layers.Flatten()(x) for x in (layer(inputs), small)
                ]
                outputs = layers.UnitNormDense(3)(
                    keras.layers.Concatenate()(flat)
                )
                self.certify(keras.Model(inputs, outputs), (6, 6, 4))

    def test_output_in_a_dict_or_a_list(self):
        inputs = keras.Input((4,))
        scores = layers.UnitNormDense(3)(layers.OrthogonalDense(4)(inputs))
        x, y = self.normal(4, 4), [0, 1, 2, 0]
        plain = certificates.certify(keras.Model(inputs, scores), x, y)
        for outputs in ({"scores": scores}, [scores]):
            model = keras.Model(inputs, outputs)
            found = certificates.certify(model, x, y)
            self.assertAllClose(found.radius, plain.radius, 0, 0)

    def test_groups_are_checked_at_every_shape(self):
        for layer in (
            layers.GroupSort(2),
            layers.MaxChannelPooling(),
            layers.MaxMin(),
        ):
            layer(keras.Input((4,)))
            with self.assertRaisesRegex(ValueError, "channels"):
                layer(keras.Input((3,)))

    def test_sides_that_are_left_open(self):
        inputs = keras.Input((None, None, 3))
        x = keras.layers.Add()([inputs, layers.RKOConv2D(3, 3)(inputs)])
        x = keras.layers.GlobalAveragePooling2D()(x)
        model = keras.Model(inputs, layers.UnitNormDense(3)(x))
        small = self.certify(model, (4, 4, 3)).lipschitz_bound
        large = self.certify(model, (8, 8, 3)).lipschitz_bound
        # An average over four times as many pixels is half as large.
        self.assertAllClose(large, small / 2, rtol=1e-3)
        x = self.normal(4, 4, 4, 3)
        audit = certificates.audit(model, input_shape=(4, 4, 3))
        report = certificates.certify(model, x, [0, 1, 2, 0], audit=audit)
        self.assertEqual(report.lipschitz_bound, small)
        summary = certificates.falsify(
            model, x, [0, 1, 2, 0], report, attacks=False
        )
        self.assertEqual(summary.num_attacked, 4)
        with self.assertRaisesRegex(ValueError, "shape"):
            certificates.certify(
                model, self.normal(4, 8, 8, 3), [0, 1, 2, 0], audit=audit
            )
        batches = iter([(x, [0, 1, 2, 0]), (x[:, :3], [0, 1, 2, 0])])
        with self.assertRaisesRegex(ValueError, "shape"):
            certificates.certify(model, batches)

    def test_windows_larger_than_images_are_refused(self):
        for strides in (1, 2):
            for make in (layers.AOLConv2D, layers.RKOConv2D, layers.OSSNConv2D):
                layer = make(2, 5, strides=strides, padding="valid")
                with self.assertRaisesRegex(ValueError, "window"):
                    layer.build((None, 4, 8, 1))
                layer.build((None, 5, 8, 1))


class LoopTest(LipschitzTestCase):
    """State does not leak out of loops."""

    class Cell(keras.layers.Layer):
        def __init__(self, dense, **kwargs):
            super().__init__(**kwargs)
            self.state_size = dense.units
            self.dense = dense

        def build(self, shape):
            self.dense.build((None, shape[-1] + self.state_size))

        def call(self, inputs, states, training=False):
            joined = ops.concatenate([inputs, states[0]], axis=-1)
            outputs = self.dense(joined, training=training)
            return outputs, [outputs]

    def test_cells_train_and_are_refused_by_name(self):
        dense = layers.LipschitzDense(3, parametrization="spectral")
        rnn = keras.layers.RNN(self.Cell(dense))
        model = keras.Sequential([keras.Input((4, 2)), rnn])
        model.compile("sgd", "mse")
        before = to_numpy(dense.free_kernel)
        model.fit(
            self.normal(4, 4, 2), self.normal(4, 3), batch_size=2, verbose=0
        )
        self.assertTrue(np.all(np.isfinite(to_numpy(dense.kernel))))
        moved = np.abs(to_numpy(dense.free_kernel) - before)
        self.assertGreater(moved.max(), 1e-4)
        with self.assertRaisesRegex(ValueError, "rnn"):
            certificates.certified_radius(model, self.normal(2, 4, 2))

    def test_layers_that_are_distributed_or_stacked_are_certified(self):
        for wrapped in (
            keras.layers.TimeDistributed(
                layers.LipschitzDense(4, parametrization="spectral")
            ),
            keras.layers.TimeDistributed(layers.ConvexPotentialDense(4)),
            layers.LayerStack(
                layers.LipschitzDense(4, parametrization="spectral"), 2
            ),
            layers.LayerStack(layers.ConvexPotentialDense(4), 2),
        ):
            inputs = keras.Input((4,))
            x = inputs
            if isinstance(wrapped, keras.layers.TimeDistributed):
                x = keras.layers.Reshape((2, 2))(x)
            x = keras.layers.Flatten()(wrapped(x))
            model = keras.Model(inputs, layers.UnitNormDense(2)(x))
            model.compile("sgd", "mse")
            x = self.normal(4, 4)
            model.fit(x, np.eye(2)[[0, 1, 0, 1]], verbose=0)
            report = certificates.certify(model, x, [0, 1, 0, 1])
            self.assertTrue(np.all(report.radius > 0))
