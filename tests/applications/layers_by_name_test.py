import keras
from absl.testing import parameterized

from keras_lip import bounds
from keras_lip import models
from keras_lip.applications.layers_by_name import convolve
from keras_lip.applications.layers_by_name import downsample
from keras_lip.applications.layers_by_name import make_activation
from keras_lip.applications.layers_by_name import make_head
from keras_lip.layers.registry import CONVOLUTIONS
from keras_lip.layers.registry import RESIDUAL_BLOCKS
from tests.layers.every_layer import CASES
from tests.lipschitz_test_case import LipschitzTestCase

KINDS = {**CONVOLUTIONS, **RESIDUAL_BLOCKS}


def make_model(convolution, channels, filters, kernel_size=2, **arguments):
    inputs = keras.Input((4, 4, channels))
    outputs = convolve(
        inputs, convolution, filters, kernel_size, "circular", arguments
    )
    return models.LipschitzModel(inputs, outputs)


class ConvolveTest(LipschitzTestCase):
    @parameterized.parameters(*KINDS)
    def test_a_name_stands_for_a_convolution(self, convolution):
        kind = KINDS[convolution].__name__
        residual = convolution in RESIDUAL_BLOCKS
        for channels, filters, kinds in (
            (2, 4, ["PadChannels"] * residual + [kind]),
            (4, 4, [kind]),
            (4, 2, [kind] + ["TruncateChannels"] * residual),
        ):
            model = make_model(convolution, channels, filters)
            self.assertEqual(model.output_shape, (None, 4, 4, filters))
            self.assertEqual(
                [type(layer).__name__ for layer in model.layers[1:]], kinds
            )
        # What is free is orthogonal at its start.
        limit = CASES[kind].limit or 1.0
        self.assertLessEqual(bounds.lipschitz_bound(model), limit + 1e-5)

    @parameterized.parameters(*KINDS)
    def test_a_name_is_that_of_its_method(self, convolution):
        begins = convolution.replace("_", "")
        self.assertStartsWith(KINDS[convolution].__name__.lower(), begins)

    def test_a_residual_block_has_a_hidden_channel_for_each_filter(self):
        for channels, filters in ((2, 4), (4, 2)):
            for layer in make_model("sll", channels, filters).layers:
                if type(layer).__name__ == "SLLConv2D":
                    self.assertEqual(layer.hidden_filters, filters)
                    self.assertEqual(layer.input.shape[-1], 4)

    @parameterized.parameters((1, 1), (2, 3), (3, 3), (4, 5))
    def test_a_skew_convolution_has_an_odd_window(self, received, made):
        layer = make_model("soc", 2, 2, received).layers[1]
        self.assertEqual(layer.kernel_size, (made, made))
        layer = make_model("rko", 2, 2, received).layers[1]
        self.assertEqual(layer.kernel_size, (received, received))

    def test_layers_take_further_arguments(self):
        layer = make_model(
            "soc", 2, 2, gradient="exact", train_terms=5, eval_terms=14
        ).layers[1]
        found = layer.gradient, layer.train_terms, layer.eval_terms
        self.assertEqual(found, ("exact", 5, 14))
        layer = make_model("rko", 2, 2, parametrization="cayley").layers[1]
        self.assertEqual(type(layer.parametrization).__name__, "Cayley")
        layer = make_model("cayley", 2, 4, 3, scale=0.85).layers[1]
        self.assertAlmostEqual(layer.lipschitz_bound(), 0.85, delta=1e-5)
        model = make_model("convex_potential", 2, 4, step_fraction=0.9)
        self.assertEqual(model.layers[2].step_fraction, 0.9)
        model = make_model("convex_potential", 2, 4, step=0.5)
        self.assertEqual(model.layers[2].step, 0.5)

    @parameterized.parameters(
        ("soc", "terms"),
        ("rko", "gradient"),
        ("rko", "strides"),
        ("soc", "padding_mode"),
        ("convex_potential", "hidden_filters"),
    )
    def test_arguments_of_the_network_or_of_no_layer_are_refused(
        self, convolution, argument
    ):
        kind = KINDS[convolution].__name__
        with self.assertRaisesRegex(
            ValueError,
            f"Unknown argument of `{kind}`: '{argument}'. The known ones are: ",
        ):
            make_model(convolution, 2, 4, **{argument: 2})

    def test_downsampling_makes_channels_of_two_by_two_pixels(self):
        self.assertEqual(
            tuple(downsample(keras.Input((4, 6, 3))).shape), (None, 2, 3, 12)
        )

    def test_an_unknown_convolution_is_refused(self):
        known = ", ".join(map(repr, sorted(KINDS)))
        with self.assertRaisesRegex(
            ValueError,
            f"Unknown convolution: 'fft'. The known ones are: {known}",
        ):
            make_model("fft", 2, 2)

    def test_older_name_makes_the_same(self):
        with self.assertWarnsRegex(DeprecationWarning, "'convex_potential'"):
            older = make_model("cpl", 2, 4)
        model = make_model("convex_potential", 2, 4)
        self.assertEqual(
            [type(layer) for layer in older.layers],
            [type(layer) for layer in model.layers],
        )


class OptionsTest(LipschitzTestCase):
    @parameterized.parameters(
        ("absolute_value", "AbsoluteValue"),
        ("beta_abs", "BetaAbs"),
        ("full_sort", "FullSort"),
        ("group_sort", "GroupSort"),
        ("householder", "Householder"),
        ("max_min", "MaxMin"),
        ("relu", "ReLU"),
    )
    def test_a_name_stands_for_an_activation(self, activation, kind):
        layer = make_activation(activation)
        self.assertEqual(type(layer).__name__, kind)

    def test_a_name_stands_for_a_head(self):
        head = make_head("curvature", 3, hidden_units=5)
        self.assertEqual(type(head).__name__, "CurvatureHead")
        self.assertEqual((head.units, head.hidden_units), (3, 5))
        self.assertEqual(make_head("curvature", 3).hidden_units, 4096)
        head = make_head("orthogonal", 3, "qr")
        self.assertEqual(type(head).__name__, "OrthogonalDense")
        self.assertEqual(type(head.parametrization).__name__, "QR")
        self.assertEqual(head.units, 3)
        head = make_head("truncation", 3)
        self.assertEqual(type(head).__name__, "TruncateChannels")
        self.assertEqual(head.channels, 3)
        head = make_head("unit_norm", 3)
        self.assertEqual(type(head).__name__, "UnitNormDense")
        self.assertEqual(head.units, 3)

    def test_unknown_names_are_refused(self):
        with self.assertRaisesRegex(
            ValueError,
            "Unknown activation: 'tanh'. The known ones are: "
            "'absolute_value', 'beta_abs', 'full_sort', 'group_sort', "
            "'householder', 'max_min', 'relu'",
        ):
            make_activation("tanh")
        with self.assertRaisesRegex(
            ValueError,
            "Unknown head: 'dense'. The known ones are: 'curvature', "
            "'orthogonal', 'truncation', 'unit_norm'",
        ):
            make_head("dense", 3)

    def test_the_number_of_classes_must_be_positive(self):
        with self.assertRaisesRegex(ValueError, "`classes` must be a positive"):
            make_head("unit_norm", 0)

    def test_hidden_units_must_be_positive_for_every_head(self):
        for head in ("curvature", "unit_norm"):
            with self.assertRaisesRegex(ValueError, "`hidden_units` must be"):
                make_head(head, 3, hidden_units=0)
