import keras
import numpy as np
from keras import layers

from keras_lip.bounds import lipschitz_bound
from keras_lip.bounds import propagate_bound
from keras_lip.layers import MaxMin
from keras_lip.layers import UnitNormDense
from keras_lip.model_layers import visit_layers
from keras_lip.models import materialize
from keras_lip.models.from_keras import from_keras
from tests.lipschitz_test_case import to_numpy
from tests.models.from_keras_test_case import NORMALIZE
from tests.models.from_keras_test_case import FromKerasTestCase
from tests.models.from_keras_test_case import actions


class Halves(layers.Layer):
    """A layer of the user's, with two outputs and a bound."""

    def call(self, inputs):
        return inputs[:, :2], inputs[:, 2:]


@propagate_bound.register(Halves)
def _(layer, inputs):
    return inputs


class FromKerasTest(FromKerasTestCase):
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
        with self.assertRaisesRegex(ValueError, "cannot initialize a 'bcop'"):
            from_keras(stock, "bcop")
        with self.assertRaisesRegex(
            ValueError, "initialize a 'convex_potential'"
        ):
            from_keras(stock, "convex_potential")
        with self.assertRaisesRegex(ValueError, "Unknown convolution: 'x'"):
            from_keras(stock, "x")
        with self.assertRaisesRegex(ValueError, "Unknown activation: 'x'"):
            from_keras(stock, activation="x")
        with self.assertRaisesRegex(TypeError, "`keras.Model` is expected"):
            from_keras(stock.layers[0])
        with self.assertRaisesRegex(ValueError, "is not built"):
            from_keras(keras.Sequential([layers.Dense(2)]))
