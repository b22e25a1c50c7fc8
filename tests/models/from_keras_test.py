import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.bounds import lipschitz_bound
from keras_lip.bounds import propagate_bound
from keras_lip.layers import MaxMin
from keras_lip.layers import UnitNormDense
from keras_lip.model_layers import visit_layers
from keras_lip.models import LipschitzModel
from keras_lip.models import materialize
from keras_lip.models.from_keras import from_keras
from keras_lip.models.importing.conversion import Conversion
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

# What moves no kernel: all of them are divided by their norms.
NORMALIZE = {
    "parametrization": "spectral",
    "convolution": "ossn",
    "unit_norm_head": False,
}


def actions(conversion):
    return [(each.name, each.action) for each in conversion.layers]


class Halves(layers.Layer):
    """A layer of the user's, with two outputs and a bound."""

    def call(self, inputs):
        return inputs[:, :2], inputs[:, 2:]


@propagate_bound.register(Halves)
def _(layer, inputs):
    return inputs


class FromKerasTest(LipschitzTestCase):
    def randomize(self, model):
        """Sets all weights to random ones, none of them near zero."""
        for weight in model.weights:
            size = self.rng.uniform(0.5, 1.5, weight.shape)
            sign = 1.0 if "variance" in weight.path else -1.0
            weight.assign(size * self.rng.choice([1.0, sign], weight.shape))
        return model

    def orthogonal(self, rows, columns):
        matrix, _ = np.linalg.qr(self.rng.normal(size=(rows, rows)))
        return matrix[:, :columns]

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

    def make_classifier(self, activation="relu"):
        return self.randomize(
            keras.Sequential(
                [
                    keras.Input((8, 8, 2)),
                    layers.Conv2D(4, 3, padding="same", name="conv"),
                    layers.BatchNormalization(name="folded"),
                    layers.ReLU(name="relu"),
                    layers.MaxPooling2D(2, name="pool"),
                    layers.Conv2D(
                        4, 2, strides=2, activation=activation, name="strided"
                    ),
                    layers.BatchNormalization(name="kept"),
                    layers.Flatten(name="flat"),
                    layers.Dense(3, name="dense"),
                    layers.Softmax(name="softmax"),
                ]
            )
        )

    def logits(self, stock):
        return keras.Model(stock.inputs[0], stock.get_layer("dense").output)

    def test_normalized_classifier_gives_every_answer_as_before(self):
        stock = self.make_classifier()
        conversion = from_keras(stock, **NORMALIZE)
        self.assertEqual(
            actions(conversion),
            [
                ("conv", "replaced"),
                ("folded", "folded"),
                ("relu", "kept"),
                ("pool", "kept"),
                ("strided", "replaced"),
                ("strided_relu", "split"),
                ("kept", "kept"),
                ("flat", "kept"),
                ("dense", "replaced"),
                ("softmax", "dropped"),
            ],
        )
        x = self.normal(4, 8, 8, 2)
        scale = conversion.scale
        old, new = to_numpy(self.logits(stock)(x)), conversion.model(x)
        self.assertAllClose(
            scale * to_numpy(new) / np.abs(old).max(),
            old / np.abs(old).max(),
            1e-5,
        )
        self.assertEqual(
            conversion.lipschitz_bound, lipschitz_bound(conversion.model)
        )
        for each in conversion.layers:
            if each.moved is not None:
                self.assertAllClose(each.moved, 0.0, 1e-5)
        text = str(conversion)
        self.assertIn("logits are certified", text)
        self.assertIn("OSSNConv2D", text)
        self.assertIn(f"{conversion.lipschitz_bound:.8g}", text)

    def test_classifier_is_trained_further_saved_and_materialized(self):
        conversion = from_keras(
            self.make_classifier(), convolution="aol", activation="max_min"
        )
        model = conversion.model
        kinds = [type(layer) for layer in model.layers]
        self.assertEqual(kinds.count(MaxMin), 2)
        self.assertNotIn(layers.ReLU, kinds)
        model.compile("sgd", "mse")
        x, y = self.normal(4, 8, 8, 2), self.normal(4, 3)
        model.fit(x, y, verbose=0)
        path = self.temporary_path("model.keras")
        model.save(path)
        self.assertAllClose(keras.models.load_model(path)(x), model(x), 1e-5)
        self.assertAllClose(materialize(model)(x), model(x), 1e-5)
        self.assertLess(model.layers[1].lipschitz_bound(), 1 + 1e-5)

    def test_branches_of_different_scales_meet_at_the_larger_one(self):
        inputs = keras.Input((4,))
        shared = layers.Dense(4, use_bias=False, name="shared")
        x = layers.Dense(4, name="branch")(shared(inputs))
        joined = layers.Add()
        outputs = joined([x, shared(inputs)]) + x
        stock = keras.Model(inputs, outputs)
        stock.set_weights(
            [2 * self.orthogonal(4, 4), 3 * np.eye(4), np.ones(4)]
        )
        # As in a process that loads the model: its names may be given anew.
        keras.utils.clear_session()
        conversion = from_keras(stock)
        x = self.normal(8, 4)
        self.assertAllClose(conversion.scale, 6.0, 1e-5, 1e-5)
        self.assertAllClose(6 * to_numpy(conversion.model(x)), stock(x), 1e-4)
        (row,) = [e for e in conversion.layers if e.action == "inserted"]
        self.assertEqual(row.note, f"before '{joined.name}'")
        self.assertAllClose(row.scale, 3.0, 1e-5, 1e-5)
        # Two of norm one, and a third of that.
        self.assertAllClose(conversion.lipschitz_bound, 2 + 1 / 3, 1e-4)
        # What is called twice is one layer still.
        names = [layer.name for layer in conversion.model.layers]
        self.assertEqual(names.count("shared"), 1)
        self.assertEqual(actions(conversion).count(("shared", "replaced")), 1)

    def test_nested_model_ends_in_logits_as_well(self):
        inner = keras.Sequential(
            [
                keras.Input((4,)),
                layers.Dense(4, use_bias=False),
                layers.BatchNormalization(name="folded"),
                layers.Dense(2, activation="softmax", name="head"),
            ]
        )
        inputs = keras.Input((4,))
        stock = keras.Model(inputs, inner(layers.Dropout(0.5)(inputs)))
        self.randomize(stock)
        conversion = from_keras(stock, **NORMALIZE)
        x = self.normal(8, 4)
        logits = conversion.scale * to_numpy(conversion.model(x))
        new = keras.activations.softmax(keras.ops.convert_to_tensor(logits))
        self.assertAllClose(new, stock(x), 1e-5)
        self.assertIn(("folded", "folded"), actions(conversion))
        self.assertIn("softmax dropped", conversion.layers[-1].note)
        head = from_keras(stock).model.layers[-1].layers[-1]
        self.assertIsInstance(head, UnitNormDense)

        # Called twice, it is no end.
        twice = keras.Model(
            inputs,
            inner(
                layers.ZeroPadding1D(1)(layers.Reshape((2, 1))(inner(inputs)))[
                    :, :, 0
                ]
            ),
        )
        with self.assertRaisesRegex(ValueError, "'head' of type `Dense`"):
            from_keras(twice)

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
        self.assertAllClose(new, stock(x), 1e-5)

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

    def test_softmax_is_dropped_at_the_end_alone(self):
        inputs = keras.Input((4,))
        x = layers.Softmax(name="used")(layers.Dense(4)(inputs))
        inner = keras.Model(
            inputs,
            [
                layers.Dense(4)(inputs),
                layers.Softmax(name="used")(layers.Dense(4)(inputs)),
            ],
        )
        first, second = inner(inputs)
        rows = keras.Input((2, 4))
        wrong_axis = layers.Softmax(axis=1, name="used")(layers.Dense(4)(rows))
        for stock in (
            keras.Model(inputs, layers.Dense(2)(x)),
            keras.Model(inputs, layers.Add()([first, second])),
            keras.Model(rows, wrong_axis),
        ):
            conversion = from_keras(stock)
            self.assertIn(("used", "kept"), actions(conversion))
            self.assertLess(conversion.lipschitz_bound, 1.5 + 1e-5)
            kept = visit_layers(conversion.model)
            self.assertIn(layers.Softmax, [type(layer) for layer in kept])
        for outputs in ([x, layers.Dense(2)(x)], [first, second]):
            with self.assertRaisesRegex(ValueError, "must have one output"):
                from_keras(keras.Model(inputs, outputs))

    def test_last_layer_with_an_activation_is_no_head(self):
        stock = keras.Sequential([keras.Input((4,)), layers.Dense(4, "relu")])
        conversion = from_keras(stock)
        self.assertEqual(conversion.layers[0].counterpart, "OrthogonalDense")

    def test_nested_model_receives_and_returns_scales(self):
        inner = keras.Sequential(
            [keras.Input((4,)), layers.Dense(4), layers.ReLU()]
        )
        stock = keras.Sequential(
            [keras.Input((4,)), layers.Dense(4), inner, layers.Dense(4)]
        )
        self.randomize(stock)
        stock.layers[0].trainable = False
        conversion = from_keras(stock, **NORMALIZE)
        x = self.normal(8, 4)
        new = conversion.scale * to_numpy(conversion.model(x))
        self.assertAllClose(new, stock(x), 1e-4)
        trainable = [each.trainable for each in conversion.model.layers[1:]]
        self.assertEqual(trainable, [False, True, True])

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

    def test_subclassed_model_of_operations_is_traced(self):
        class Residual(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = layers.Dense(4)
                self.end = layers.Dense(4, activation="softmax")

            def call(self, inputs):
                return self.end(inputs + self.dense(inputs))

        stock = Residual()
        stock(self.normal(8, 4))
        self.randomize(stock)
        conversion = from_keras(stock, **NORMALIZE)
        self.assertIsInstance(conversion.model, keras.Model)
        x = self.normal(8, 4)
        logits = conversion.scale * to_numpy(conversion.model(x))
        logits = keras.ops.convert_to_tensor(logits)
        self.assertAllClose(
            keras.activations.softmax(logits), stock(x), 1e-5, 1e-5
        )

    def test_models_of_several_inputs_are_for_nesting_alone(self):
        first, second = keras.Input((4,)), keras.Input((4,))
        outputs = [
            layers.Subtract()([first, second]),
            layers.Dense(4)(second),
        ]
        inner = keras.Model([first, second], outputs)
        joined = layers.Add()(inner([layers.Dense(4)(first), first]))
        stock = self.randomize(keras.Model(first, joined))
        conversion = from_keras(stock, **NORMALIZE)
        x = self.normal(8, 4)
        new = conversion.scale * to_numpy(conversion.model(x))
        self.assertAllClose(new, stock(x), 1e-5)
        with self.assertRaisesRegex(ValueError, "must have one input"):
            from_keras(inner)

    def test_layer_of_two_outputs_has_no_bound(self):
        inputs = keras.Input((4,))
        outputs = layers.Add()(Halves(name="halves")(inputs))
        with self.assertRaisesRegex(
            ValueError, "'halves' of type .* must have one"
        ):
            from_keras(keras.Model(inputs, outputs))

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

    def test_everything_without_counterpart_is_named(self):
        inputs = keras.Input((4, 4, 2))
        x = layers.DepthwiseConv2D(2, name="depthwise")(inputs)
        x = layers.Conv2D(2, 1, activation="softmax", name="softmax")(x)
        x = layers.LayerNormalization(name="norm")(x)
        x = layers.Conv2D(2, 1, strides=2, groups=2, name="groups")(x)
        x = layers.Conv2DTranspose(2, 1, name="transposed")(x)
        x = layers.Activation("exponential", name="steep")(x)
        x = layers.Dense(2, name="broken")(x)
        stock = keras.Model(inputs, layers.Reshape((8,))(x))
        stock.get_layer("broken").bias.assign([0.0, np.nan])
        with self.assertRaisesRegex(
            ValueError, "no Lipschitz counterpart"
        ) as e:
            from_keras(stock, "ossn")
        for name, kind, why in (
            ("depthwise", "DepthwiseConv2D", "kernel of its shape"),
            ("softmax", "Conv2D", "activation 'softmax'"),
            ("norm", "LayerNormalization", "No Lipschitz bound"),
            ("groups", "Conv2D", "'ossn' has no groups"),
            ("transposed", "Conv2DTranspose", r"\['aol', 'rko'\]"),
            ("steep", "Activation", "activation 'exponential'"),
            ("broken", "Dense", "not finite"),
        ):
            self.assertRegex(
                str(e.exception), f"'{name}' of type `{kind}`: .*{why}"
            )
        self.assertNotIn("Reshape", str(e.exception))

    def test_convolutions_that_ours_do_not_compute_are_refused(self):
        for layer, shape, why in (
            (layers.Conv1D(2, 2, padding="causal"), (4, 2), "causal"),
            (
                layers.Conv2DTranspose(2, 2, 2, output_padding=1),
                (2, 2, 2),
                "output_padding",
            ),
        ):
            stock = keras.Sequential([keras.Input(shape), layer])
            with self.assertRaisesRegex(ValueError, why):
                from_keras(stock)

    def test_norm_must_be_l2(self):
        from keras_lip.layers import LinfDense

        stock = keras.Sequential([keras.Input((4,)), LinfDense(2)])
        with self.assertRaisesRegex(ValueError, "holds in linf, not in l2"):
            from_keras(stock)

    def test_older_name_of_the_activation_is_read(self):
        stock = keras.Sequential(
            [keras.Input((4,)), layers.Dense(2), layers.ReLU()]
        )
        with self.assertWarnsRegex(DeprecationWarning, "'maxmin' is now"):
            conversion = from_keras(stock, activation="maxmin")
        self.assertEqual(type(conversion.model.layers[-1]).__name__, "MaxMin")

    def test_arguments_are_checked(self):
        stock = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
        with self.assertRaisesRegex(ValueError, "cannot start a 'bcop'"):
            from_keras(stock, "bcop")
        with self.assertRaisesRegex(ValueError, "start a 'convex_potential'"):
            from_keras(stock, "convex_potential")
        with self.assertRaisesRegex(ValueError, "Unknown convolution: 'x'"):
            from_keras(stock, "x")
        with self.assertRaisesRegex(ValueError, "Unknown activation: 'x'"):
            from_keras(stock, activation="x")
        with self.assertRaisesRegex(TypeError, "`keras.Model` is expected"):
            from_keras(stock.layers[0])
        with self.assertRaisesRegex(ValueError, "is not built"):
            from_keras(keras.Sequential([layers.Dense(2)]))
