import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

import keras_lip
from keras_lip.bounds import lipschitz_bound
from keras_lip.program import freeze
from tests.lipschitz_test_case import to_numpy
from tests.program.stock.rule_test_case import RuleTestCase


class CoreTest(RuleTestCase):
    @parameterized.named_parameters(
        ("tall", (7,), 3),
        ("wide", (3,), 7),
        ("square", (5,), 5),
        ("of_sequences", (4, 3), 2),
        ("of_images", (2, 2, 3), 5),
    )
    def test_bound_is_the_norm_of_the_matrix(self, shape, units):
        layer = layers.Dense(
            units, kernel_initializer=self.draw, bias_initializer=self.draw
        )
        model = self.make_model(layer, *shape)
        self.assertBounded(model, slack=1e-5)

    def test_bound_is_of_the_weights_that_now_run(self):
        layer = layers.Dense(3, use_bias=False)
        model = self.make_model(layer, 3)
        layer.set_weights([2 * np.eye(3)])
        self.assertAlmostEqual(lipschitz_bound(model), 2.0, delta=1e-12)
        layer.set_weights([-3 * np.eye(3)])
        self.assertAlmostEqual(lipschitz_bound(model), 3.0, delta=1e-12)

    def test_lora_weights_count(self):
        layer = layers.Dense(4, kernel_initializer="zeros")
        model = self.make_model(layer, 3)
        layer.enable_lora(2, lora_alpha=8)
        layer.lora_kernel_b.assign(self.normal(2, 4))
        self.assertGreater(lipschitz_bound(model), 1.0)
        self.assertBounded(model, slack=1e-5)

    def test_kernel_is_rounded_as_it_runs(self):
        # In bfloat16 a kernel of 1.0039 is 1.0078125.
        layer = layers.Dense(1, use_bias=False, dtype="mixed_bfloat16")
        model = self.make_model(layer, 1)
        layer.set_weights([np.array([[1.0059]])])
        self.assertEqual(to_numpy(model(np.ones((1, 1))))[0, 0], 1.0078125)
        self.assertAlmostEqual(lipschitz_bound(model), 1.0078125, delta=1e-12)

    def test_activation_counts(self):
        layer = layers.Dense(3, kernel_initializer="identity")
        layer.activation = layers.Activation("sigmoid").activation
        self.assertAlmostEqual(self.bound(layer, 3), 0.25, delta=1e-12)


class EinsumDenseTest(RuleTestCase):
    @parameterized.named_parameters(
        ("dense", "ab,bc->ac", 3, None, (4,)),
        ("biased", "ab,bc->ac", 3, "c", (4,)),
        ("of_sequences", "abc,cd->abd", (3, 2), "d", (3, 4)),
        ("any_axes", "...b,bc->...c", 2, "c", (3, 4)),
        ("across_steps", "abc,bd->adc", (5, 4), "dc", (3, 4)),
        ("of_all", "abc,bcd->ad", 2, "d", (3, 4)),
        ("to_heads", "abc,cde->abde", (3, 2, 5), "de", (3, 4)),
        ("of_each_step", "abc,bcd->abd", (3, 2), "bd", (3, 4)),
        ("moved", "abc,cd->adb", (2, 3), "b", (3, 4)),
        ("scaled", "abc,c->abc", (3, 4), None, (3, 4)),
    )
    def test_bound_is_the_norm_of_the_matrix(
        self, equation, output_shape, bias_axes, shape
    ):
        layer = layers.EinsumDense(
            equation,
            output_shape,
            bias_axes=bias_axes,
            kernel_initializer=self.draw,
            bias_initializer=self.draw,
        )
        model = self.make_model(layer, *shape)
        self.assertBounded(model, slack=1e-5)
        x = self.normal(3, *shape)
        self.assertAllClose(freeze(model).run(x), model(x), 1e-5, 1e-5)

    def test_largest_sum_bounds_it_in_the_other_norm(self):
        layer = layers.EinsumDense("abc,bcd->abd", (2, 1))
        model = self.make_model(layer, 2, 3)
        kernel = np.array([[1.0, -2, 3], [4, 0, -1]])[..., None]
        layer.set_weights([kernel])
        self.assertAlmostEqual(lipschitz_bound(model, "linf"), 6.0, delta=1e-9)

    def test_activation_counts(self):
        layer = layers.EinsumDense(
            "ab,bc->ac", 3, activation="sigmoid", kernel_initializer="identity"
        )
        self.assertAlmostEqual(self.bound(layer, 3), 0.25, delta=1e-9)

    def test_kernel_that_is_no_number_has_no_bound(self):
        layer = layers.EinsumDense("ab,bc->ac", 2)
        model = self.make_model(layer, 2)
        layer.set_weights([np.array([[1.0, np.nan], [0.0, 1.0]])])
        self.assertEqual(lipschitz_bound(model), np.inf)

    def test_equation_that_sums_inputs_unseen_is_refused(self):
        layer = layers.EinsumDense("abc,bd->ad", 2)
        with self.assertRaisesRegex(ValueError, "its equation is 'abc,bd->ad'"):
            self.bound(layer, 3, 4)

    @parameterized.named_parameters(
        ("summed", "abc,cd->abd", (2, 9), (2, 1)),
        ("shared", "abc,cd->abcd", (2, 9), (2, 1)),
        ("kernel_of_one", "abc,cd->abd", (2, 1), (2, 9)),
        ("unknown", "abc,cd->abd", (2, 9), (2, None)),
        ("past_with_a_bias", "abc,cd->abd", (5, 3), (1, 3)),
    )
    def test_inputs_must_be_those_of_the_kernel(self, equation, built, called):
        # Some backends broadcast sizes of one, and the norm grows.
        shape = (2, 9, 3) if equation.endswith("bcd") else (built[0], 3)
        layer = layers.EinsumDense(
            equation, shape, bias_axes="b" if built[0] == 5 else None
        )
        model = self.make_model(layer, *built)
        self.assertBounded(model)
        inputs = keras.Input(called)
        try:
            model = keras.Model(inputs, layer(inputs))
        except Exception:
            # The backend does not broadcast.
            return
        with self.assertRaisesRegex(ValueError, "fit its"):
            lipschitz_bound(model)


class TimeDistributedTest(RuleTestCase):
    @parameterized.named_parameters(
        ("dense", lambda draw: layers.Dense(2, kernel_initializer=draw), 3, 4),
        (
            "conv",
            lambda draw: layers.Conv1D(2, 2, 2, kernel_initializer=draw),
            *(3, 4, 2),
        ),
    )
    def test_bound_is_the_norm_of_the_matrix(self, make, *shape):
        layer = layers.TimeDistributed(make(self.draw))
        model = self.make_model(layer, *shape)
        self.assertBounded(model, slack=1e-3)
        x = self.normal(3, *shape)
        self.assertAllClose(freeze(model).run(x), model(x), 1e-5, 1e-5)

    @parameterized.named_parameters(
        ("centering", keras_lip.layers.LayerCentering),
        ("transpose", lambda: layers.Conv1DTranspose(1, 3)),
    )
    def test_norm_that_the_layer_has_no_bound_in_is_refused(self, make):
        model = self.make_model(layers.TimeDistributed(make()), 2, 5, 4)
        lipschitz_bound(model)
        self.assertEqual(freeze(model).norms, ("l2",))
        self.assertEqual(freeze(model).bounds("linf").output, np.inf)
        with self.assertRaisesRegex(ValueError, "has none in linf"):
            lipschitz_bound(model, "linf")

    def test_layer_without_a_bound_is_refused_inside_of_it(self):
        layer = layers.TimeDistributed(layers.LayerNormalization(name="bad"))
        with self.assertRaisesRegex(ValueError, "for layer 'bad' of type"):
            self.bound(layer, 3, 4)
