import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.bounds import lipschitz_bound
from tests.program.stock.rule_test_case import RuleTestCase


class ConvolutionalTest(RuleTestCase):
    # The bound is of any image size: a slack is given where the image is large
    # enough to see the norm.
    @parameterized.named_parameters(
        ("valid", (3, 3), {}, (16, 2), None),
        ("same", (3, 3), {"padding": "same"}, (40, 2), 0.02),
        ("causal", (3, 3), {"padding": "causal"}, (40, 2), 0.02),
        ("even_window", (3, 4), {"padding": "same"}, (40, 2), 0.02),
        ("strided", (3, 3), {"padding": "same", "strides": 2}, (41, 2), 0.05),
        ("strided_valid", (3, 4), {"strides": 3}, (40, 2), 0.05),
        ("sparse", (3, 2), {"strides": 3}, (30, 2), 1e-3),
        ("patches", (4, 3), {"strides": 3}, (9, 2), 1e-3),
        ("dilated", (3, 3), {"padding": "same", "dilation_rate": 2}, (40, 2)),
        ("grouped", (4, 3), {"padding": "same", "groups": 2}, (40, 4), 0.02),
        ("pointwise", (3, 1), {}, (4, 2), 1e-3),
    )
    def test_conv_1d_is_bounded(self, sizes, kwargs, shape, slack=None):
        layer = layers.Conv1D(
            *sizes,
            kernel_initializer=self.draw,
            bias_initializer=self.draw,
            **kwargs,
        )
        self.assertBounded(self.make_model(layer, *shape), slack)

    @parameterized.named_parameters(
        ("same", (2, 3), {"padding": "same"}, (10, 9, 2), 0.2),
        ("valid", (2, (3, 2)), {}, (6, 7, 2), None),
        ("strided", (2, 3), {"strides": 2, "padding": "same"}, (9, 8, 2), 0.2),
        ("uneven_strides", (2, 3), {"strides": (1, 2)}, (6, 8, 1), None),
        ("grouped", (4, 3), {"groups": 2, "padding": "same"}, (6, 6, 4), None),
        ("dilated", (2, 3), {"dilation_rate": (2, 1)}, (7, 6, 1), None),
        ("patches", (5, 2), {"strides": 2}, (4, 4, 2), 1e-3),
        ("pointwise", (3, 1), {}, (2, 2, 4), 1e-3),
    )
    def test_conv_2d_is_bounded(self, sizes, kwargs, shape, slack):
        layer = layers.Conv2D(*sizes, kernel_initializer=self.draw, **kwargs)
        self.assertBounded(self.make_model(layer, *shape), slack)

    @parameterized.named_parameters(
        ("conv", layers.Conv2D, (2, 3)),
        ("depthwise", layers.DepthwiseConv2D, (3,)),
        ("separable", layers.SeparableConv2D, (2, 3)),
        ("transpose", layers.Conv2DTranspose, (2, 3)),
    )
    def test_channels_first_are_bounded(self, layer_cls, sizes):
        if keras.backend.backend() == "tensorflow":
            self.skipTest("TensorFlow has no convolution of this on CPUs.")
        layer = layer_cls(
            *sizes,
            padding="same",
            data_format="channels_first",
            bias_initializer=self.draw,
        )
        self.assertBounded(self.make_model(layer, 3, 5, 4))

    @parameterized.named_parameters(
        ("valid", {}, (12, 2), None),
        ("same", {"padding": "same"}, (40, 2), 0.02),
        ("strided", {"strides": 2, "padding": "same"}, (20, 2), 0.05),
        ("strided_valid", {"strides": 3}, (13, 2), 0.05),
        ("padded", {"strides": 2, "output_padding": 1}, (20, 2), 0.05),
        ("dilated", {"dilation_rate": 2}, (12, 2), None),
    )
    def test_conv_1d_transpose_is_bounded(self, kwargs, shape, slack):
        layer = layers.Conv1DTranspose(
            3, 4, kernel_initializer=self.draw, **kwargs
        )
        model = self.make_model(layer, *shape)
        with self.needs_newer_keras():
            model(self.normal(1, *shape))
        self.assertBounded(model, slack)

    @parameterized.named_parameters(
        ("same", {"padding": "same"}, None),
        ("strided", {"strides": 2, "padding": "same"}, None),
        ("strided_valid", {"strides": (2, 1)}, None),
        ("patches", {"strides": 3}, 1e-3),
    )
    def test_conv_2d_transpose_is_bounded(self, kwargs, slack):
        layer = layers.Conv2DTranspose(
            2, 3, kernel_initializer=self.draw, **kwargs
        )
        self.assertBounded(self.make_model(layer, 4, 5, 3), slack)

    @parameterized.named_parameters(
        ("same", layers.DepthwiseConv1D, {"padding": "same"}, (40, 3), 0.02),
        ("valid", layers.DepthwiseConv1D, {}, (12, 3), None),
        ("strided", layers.DepthwiseConv1D, {"strides": 2}, (41, 3), 0.05),
        ("dilated", layers.DepthwiseConv1D, {"dilation_rate": 2}, (20, 3)),
        ("in_2d", layers.DepthwiseConv2D, {"padding": "same"}, (6, 5, 3)),
        ("strided_in_2d", layers.DepthwiseConv2D, {"strides": 2}, (7, 6, 3)),
    )
    def test_depthwise_conv_is_bounded(
        self, layer_cls, kwargs, shape, slack=None
    ):
        layer = layer_cls(
            3, depth_multiplier=2, depthwise_initializer=self.draw, **kwargs
        )
        self.assertBounded(self.make_model(layer, *shape), slack)

    @parameterized.named_parameters(
        ("same", layers.SeparableConv1D, {"padding": "same"}, (12, 3)),
        ("strided", layers.SeparableConv1D, {"strides": 2}, (13, 3)),
        ("in_2d", layers.SeparableConv2D, {"padding": "same"}, (5, 6, 3)),
        ("strided_in_2d", layers.SeparableConv2D, {"strides": 2}, (7, 6, 3)),
    )
    def test_separable_conv_is_bounded(self, layer_cls, kwargs, shape):
        layer = layer_cls(
            2,
            3,
            depth_multiplier=2,
            depthwise_initializer=self.draw,
            pointwise_initializer=self.draw,
            bias_initializer=self.draw,
            **kwargs,
        )
        self.assertBounded(self.make_model(layer, *shape))

    @parameterized.named_parameters(
        ("depthwise", layers.DepthwiseConv1D, (3,), 2, 2),
        ("separable", layers.SeparableConv1D, (1, 3), 2, 2),
        ("coprime", layers.DepthwiseConv1D, (4,), 2, 3),
        ("divisible", layers.DepthwiseConv1D, (4,), 2, 4),
        ("sharing_a_factor", layers.DepthwiseConv1D, (4,), 4, 6),
    )
    def test_strides_with_dilation_are_bounded(
        self, layer_cls, sizes, strides, dilation
    ):
        # The window of stride 2 and dilation 2 meets every other pixel alone,
        # where ones add up to 3, not in two phases of 2 and 1.
        kwargs = {"depthwise_initializer": "ones", "padding": "same"}
        if layer_cls is layers.SeparableConv1D:
            kwargs["pointwise_initializer"] = "ones"
        with self.needs_newer_keras():
            layer = layer_cls(
                *sizes, strides=strides, dilation_rate=dilation, **kwargs
            )
        self.assertBounded(self.make_model(layer, 96, 1), slack=0.05)

    def test_bound_of_groups_is_that_of_the_largest(self):
        layer = layers.Conv1D(2, 1, groups=2, use_bias=False)
        model = self.make_model(layer, 3, 2)
        layer.set_weights([np.array([[[4.0, 0.5]]])])
        self.assertAlmostEqual(lipschitz_bound(model), 4.0, delta=1e-9)

    def test_bound_of_depth_is_that_of_the_largest_channel(self):
        layer = layers.DepthwiseConv1D(1, depth_multiplier=2, use_bias=False)
        model = self.make_model(layer, 3, 2)
        layer.set_weights([np.array([[[3.0, 4.0], [0.1, 0.2]]])])
        self.assertAlmostEqual(lipschitz_bound(model), 5.0, delta=1e-9)

    def test_lora_weights_count(self):
        layer = layers.Conv1D(2, 3, kernel_initializer="zeros", padding="same")
        model = self.make_model(layer, 20, 2)
        layer.enable_lora(1)
        layer.lora_kernel_b.assign(self.normal(1, 2))
        self.assertBounded(model, slack=0.05)

    @parameterized.named_parameters(
        ("conv", layers.Conv1D(1, 1, activation="sigmoid"), 1.0),
        ("depthwise", layers.DepthwiseConv1D(1, activation="sigmoid"), 1.0),
        ("transpose", layers.Conv1DTranspose(1, 1, activation="sigmoid"), 1.0),
        ("separable", layers.SeparableConv1D(1, 1, activation="sigmoid"), 2.0),
    )
    def test_activation_counts(self, layer, norm):
        layer = type(layer).from_config(layer.get_config())
        model = self.make_model(layer, 4, 1)
        weights = [np.full(w.shape, 1.0) for w in layer.get_weights()]
        weights[0] *= norm
        layer.set_weights(weights)
        self.assertAlmostEqual(lipschitz_bound(model), norm / 4, delta=1e-9)

    def test_kernel_that_is_no_number_has_no_bound(self):
        layer = layers.Conv1D(2, 3, kernel_initializer="ones")
        model = self.make_model(layer, 8, 2)
        kernel = np.ones((3, 2, 2))
        kernel[1, 0, 1] = np.nan
        layer.set_weights([kernel, np.zeros(2)])
        self.assertEqual(lipschitz_bound(model), np.inf)

    def test_groups_must_be_those_of_the_kernel(self):
        # Keras infers groups from the shapes. The norm is five.
        layer = layers.Conv2D(2, 1, use_bias=False)
        model = self.make_model(layer, 1, 1, 1)
        layer.set_weights([np.array([[[[3.0, 4.0]]]])])
        self.assertAlmostEqual(lipschitz_bound(model), 5.0, delta=1e-6)
        layer.groups = 2
        with self.assertRaisesRegex(ValueError, "must have the size 2"):
            lipschitz_bound(model)

    def test_bias_must_be_that_of_the_filters(self):
        layer = layers.Conv1D(1, 1)
        model = self.make_model(layer, 3, 1)
        layer.__dict__["_tracker"].unlock()
        layer.bias = keras.Variable(np.ones(9))
        with self.assertRaisesRegex(ValueError, r"bias has the shape \(9,\)"):
            lipschitz_bound(model)
