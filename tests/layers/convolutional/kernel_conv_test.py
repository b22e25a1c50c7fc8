import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.linalg import power_iteration
from tests.layers.convolutional.convolution_test_case import CHANNELS
from tests.layers.convolutional.convolution_test_case import IMAGES
from tests.layers.convolutional.convolution_test_case import ConvolutionTestCase
from tests.lipschitz_test_case import to_numpy

LAYERS = (
    layers.AOLConv2D,
    layers.OSSNConv2D,
    layers.RKOConv2D,
    layers.SVCMConv2D,
)
# Kernel size, strides and padding.
CASES = (
    (1, 1, "zeros"),
    (2, 1, "circular"),
    (3, 1, "circular"),
    (3, 1, "zeros"),
    (3, 1, "valid"),
    ((4, 5), 1, "circular"),
    (2, 2, "circular"),
    (3, 2, "circular"),
    (3, 2, "zeros"),
    ((4, 5), 2, "valid"),
)


class KernelConvTest(ConvolutionTestCase):
    @parameterized.parameters(
        (layers.AOLConv2D, "circular", 1),
        (layers.AOLConv2D, "zeros", 2),
        (layers.RKOConv2D, "circular", 2),
        (layers.RKOConv2D, "zeros", 1),
        (layers.OSSNConv2D, "circular", 2),
        (layers.SVCMConv2D, "zeros", 1),
    )
    def test_contract(self, layer_cls, padding_mode, strides):
        self.run_lipschitz_layer_test(
            layer_cls,
            init_kwargs={
                "filters": 3,
                "kernel_size": 3,
                "strides": strides,
                "padding_mode": padding_mode,
            },
            input_shape=(4, 6, 2),
            expected_output_shape=(4 // strides, 6 // strides, 3),
            expected_bound=None,
        )

    @parameterized.product(
        layer_cls=(layers.AOLConv2D, layers.RKOConv2D),
        channels=CHANNELS,
        case=CASES,
    )
    def test_norm_is_at_most_one(self, layer_cls, channels, case):
        self.check_case(layer_cls, channels, case, tolerance=1e-5)

    @parameterized.product(
        layer_cls=(layers.OSSNConv2D, layers.SVCMConv2D),
        case=(
            ((4, 5), 1, "circular"),
            (3, 1, "zeros"),
            (3, 2, "zeros"),
            (2, 1, "valid"),
        ),
    )
    def test_norm_is_one_by_an_estimate(self, layer_cls, case):
        # The tolerance is what 100 iterations leave to be estimated.
        self.check_case(layer_cls, (2, 4), case, tolerance=2e-2)

    def check_case(self, layer_cls, channels, case, tolerance):
        inputs, filters = channels
        kernel_size, strides, padding = case
        layer = layer_cls(
            filters,
            kernel_size,
            strides=strides,
            padding="valid" if padding == "valid" else "same",
            padding_mode="zeros" if padding == "valid" else padding,
        )
        image = IMAGES[strides - 1]
        self.build(layer, image, inputs)
        self.check_norm(layer, image, inputs, tolerance)

    @parameterized.product(
        layer_cls=(layers.AOLConv2D, layers.RKOConv2D),
        scale=(1e-20, 0.02, 20.0),
    )
    def test_norm_is_at_most_one_at_any_scale(self, layer_cls, scale):
        layer = self.build(layer_cls(3, 3), (5, 5), 2)
        layer.free_kernel.assign(self.normal(3, 3, 2, 3, scale=scale))
        values = self.check_norm(layer, (5, 5), 2)
        self.assertGreater(values.max(), 0.3)

    @parameterized.parameters(*LAYERS)
    def test_zero_kernel_stays_zero(self, layer_cls):
        layer = self.build(layer_cls(3, 3), (5, 5), 2)
        layer.free_kernel.assign(np.zeros((3, 3, 2, 3)))
        self.assertTrue(np.isfinite(to_numpy(layer.kernel)).all())
        self.assertLessEqual(layer.lipschitz_bound(), 1 + 1e-5)

    @parameterized.product(
        layer_cls=(layers.AOLConv2D, layers.RKOConv2D), groups=(2, 4)
    )
    def test_groups_are_convolutions_of_their_own(self, layer_cls, groups):
        layer = layer_cls(8, 3, groups=groups)
        self.build(layer, (4, 5), 4)
        self.check_norm(layer, (4, 5), 4)
        x = self.normal(2, 4, 5, 4)
        outputs = to_numpy(layer(x)) - to_numpy(layer.bias)
        kernel = to_numpy(layer.kernel)
        for group in range(groups):
            ours = slice(group * 4 // groups, (group + 1) * 4 // groups)
            theirs = slice(group * 8 // groups, (group + 1) * 8 // groups)
            alone = layer_cls(8 // groups, 3, use_bias=False)
            alone.build((None, 4, 5, 4 // groups))
            free_kernel = to_numpy(layer.free_kernel)[..., theirs]
            alone.free_kernel.assign(free_kernel)
            self.assertAllClose(alone.kernel, kernel[..., theirs], 1e-5)
            self.assertAllClose(alone(x[..., ours]), outputs[..., theirs], 1e-5)

    @parameterized.parameters(*LAYERS)
    def test_dilated_taps_keep_their_norm(self, layer_cls):
        layer = layer_cls(3, 3, dilation_rate=2)
        self.build(layer, (8, 8), 2)
        self.check_norm(layer, (8, 8), 2, tolerance=1e-2)

    @parameterized.parameters(*LAYERS)
    def test_data_formats_agree(self, layer_cls):
        self.check_data_formats_agree(layer_cls, filters=4, kernel_size=3)

    @parameterized.parameters(*LAYERS)
    def test_image_sizes_may_be_unknown(self, layer_cls):
        self.check_unknown_sizes(layer_cls, filters=4, kernel_size=3)

    def test_activation_counts(self):
        layer = layers.RKOConv2D(3, 1, activation="sigmoid")
        self.build(layer, (4, 4), 3)
        self.assertAllClose(layer.lipschitz_bound(), 0.25, 1e-5)

    @parameterized.parameters(*LAYERS)
    def test_invalid_arguments_are_refused(self, layer_cls):
        for kwargs, message in (
            ({"filters": 0}, "`filters` must be a positive integer"),
            ({"kernel_size": (3, 3, 3)}, "or 2 of them: one"),
            ({"kernel_size": "33"}, "`kernel_size` must be"),
            ({"strides": 0}, "`strides` must be a positive integer"),
            ({"padding": "full"}, "Unknown padding: 'full'.*'same', 'valid'"),
            ({"padding_mode": "wrap"}, "Unknown padding_mode: 'wrap'"),
            ({"data_format": "NHWC"}, "Unknown data_format: 'NHWC'"),
            ({"strides": 2, "dilation_rate": 2}, "strides or a dilation"),
            ({"groups": 3}, "multiple of `groups`|has no groups"),
            ({"activation": "gulp"}, "'gulp'"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                layer_cls(**{"filters": 4, "kernel_size": 3, **kwargs})

    def test_inputs_that_do_not_fit_are_refused(self):
        layer = layers.RKOConv2D(4, 3, groups=2)
        with self.assertRaisesRegex(ValueError, "multiple of its groups"):
            layer.build((None, 4, 4, 3))
        with self.assertRaisesRegex(ValueError, "must have a known size"):
            layer.build((None, 4, 4, None))
        with self.assertRaisesRegex(ValueError, "expected ndim=4"):
            layer(self.normal(2, 4, 4))
        strided = layers.AOLConv2D(4, 3, strides=2)
        with self.assertRaisesRegex(ValueError, "multiples of the strides"):
            strided(self.normal(1, 5, 4, 2))
        with self.assertRaisesRegex(ValueError, "multiples of the strides"):
            layers.AOLConv2D(4, 3, strides=2)(keras.Input((None, None, 2)))


class OSSNConv2DTest(ConvolutionTestCase):
    def test_norm_is_one_on_images_of_its_size(self):
        layer = layers.OSSNConv2D(4, 3, padding_mode="zeros")
        self.build(layer, (6, 5), 3)
        for _ in range(3):
            # Each call leaves the vector 100 iterations further on.
            _, vector = power_iteration(
                layer._operator,
                layer.free_kernel.value,
                layer.state["power_iteration_vector"].value,
                100,
            )
            layer.state["power_iteration_vector"].assign(vector)
        values = self.check_norm(layer, (6, 5), 3, tolerance=1e-4)
        self.assertAllClose(values.max(), 1, 1e-4)

    def test_proven_kernel_is_proven_not_to_exceed_one(self):
        layer = layers.OSSNConv2D(4, 3, padding_mode="zeros")
        self.build(layer, (6, 5), 3)
        self.assertGreater(layer.lipschitz_bound(), 1.01)
        stock = layer.to_keras_layer(proven=True)
        self.assertLessEqual(layer._bound_norm(stock.get_weights()[0]), 1)

    def test_training_moves_the_vector_and_inference_does_not(self):
        layer = layers.OSSNConv2D(3, 3)
        x = self.normal(2, 4, 4, 3)
        layer(x)
        before = to_numpy(layer.state["power_iteration_vector"]).copy()
        layer(x)
        self.assertAllClose(layer.state["power_iteration_vector"], before)
        layer(x, training=True)
        moved = to_numpy(layer.state["power_iteration_vector"])
        self.assertGreater(np.abs(moved - before).max(), 1e-3)

    @parameterized.product(
        layer_cls=(layers.OSSNConv2D, layers.SVCMConv2D), iterations=(1, 10)
    )
    def test_training_makes_its_iterations(self, layer_cls, iterations):
        layer = layer_cls(3, 3, training_iterations=iterations)
        x = self.normal(2, 4, 4, 3)
        layer.build(x.shape)
        layer.free_kernel.assign(self.normal(3, 3, 3, 3))
        kernel = layer.kernel_map.scale(layer.free_kernel.value)
        start = layer.state["power_iteration_vector"].value
        expected = [
            to_numpy(power_iteration(layer._operator, kernel, start, count)[1])
            for count in (iterations, iterations + 1)
        ]
        layer(x, training=True)
        vector = layer.state["power_iteration_vector"]
        self.assertAllClose(vector, expected[0], 1e-5)
        # One more iteration would be noticed: the tolerance is less.
        distance = np.abs(to_numpy(vector) - expected[1]).max()
        self.assertGreater(distance, 1e-4)

    @parameterized.parameters(layers.OSSNConv2D, layers.SVCMConv2D)
    def test_iterations_are_saved_and_checked(self, layer_cls):
        config = layer_cls(3, 3, training_iterations=10).get_config()
        copy = layer_cls.from_config(config)
        self.assertEqual(copy.kernel_map.training_iterations, 10)
        # Files of earlier versions do not have the argument.
        del config["training_iterations"]
        older = layer_cls.from_config(config)
        self.assertEqual(older.kernel_map.training_iterations, 1)
        with self.assertRaisesRegex(
            ValueError, "`training_iterations` must be a positive integer"
        ):
            layer_cls(3, 3, training_iterations=0)


class RKOConv2DTest(ConvolutionTestCase):
    @parameterized.product(
        parametrization=("bjorck", "cayley"),
        channels=((2, 8), (2, 3), (3, 12)),
        image=((6, 6), (4, 6)),
    )
    def test_windows_that_do_not_overlap_are_orthogonal(
        self, parametrization, channels, image
    ):
        inputs, filters = channels
        layer = layers.RKOConv2D(
            filters, 2, parametrization=parametrization, strides=2
        )
        layer.build((None, *image, inputs))
        values = self.check_norm(layer, image, inputs)
        self.assertGreaterEqual(values.min(), 1 - 1e-4)

    def test_parametrization_must_be_orthogonal(self):
        with self.assertRaisesRegex(ValueError, "needs an orthogonal"):
            layers.RKOConv2D(3, 3, parametrization="aol")


class AOLConv2DTest(ConvolutionTestCase):
    def test_bound_is_tight(self):
        # Theorem 2 and the bound that is measured are the same sum.
        for strides in (1, 2):
            layer = layers.AOLConv2D(3, 3, strides=strides)
            self.build(layer, (6, 6), 3)
            self.assertLessEqual(layer.lipschitz_bound(), 1 + 1e-6)

    def test_orthogonal_kernels_stay_as_they_are(self):
        for inputs, filters in ((4, 3), (3, 4)):
            matrix = np.linalg.qr(self.normal(4, 4))[0][:inputs, :filters]
            layer = layers.AOLConv2D(filters, 3, use_bias=False)
            layer.build((None, 5, 5, inputs))
            kernel = np.zeros((3, 3, inputs, filters), "float32")
            kernel[1, 1] = matrix
            layer.free_kernel.assign(kernel)
            self.assertAllClose(layer.kernel, kernel, 1e-5)


class SVCMConv2DTest(ConvolutionTestCase):
    @parameterized.parameters((1, (6, 6)), (2, (6, 8)))
    def test_clipping_brings_the_norm_down_to_one(self, strides, image):
        layer = layers.SVCMConv2D(4, 3, strides=strides, use_bias=False)
        self.build(layer, image, 3)

        def free_norm():
            operator = layer._operator
            matrix = operator.as_matrix(layer.free_kernel.value, (*image, 3))
            return self.singular_values(matrix).max()

        self.assertGreater(free_norm(), 4)
        layer.clip_singular_values(rounds=30)
        self.assertLess(free_norm(), 1.02)
        self.check_norm(layer, image, 3, tolerance=1e-3)

    def test_window_of_the_whole_image_is_clipped_exactly(self):
        # Nothing is cut off: one round suffices, and small values stay.
        layer = layers.SVCMConv2D(2, 4, use_bias=False)
        self.build(layer, (4, 4), 2)
        before = layer._operator.as_matrix(layer.free_kernel.value, (4, 4, 2))
        left, values, right = np.linalg.svd(to_numpy(before))
        layer.clip_singular_values()
        expected = (left * np.minimum(values, 1)) @ right
        after = layer._operator.as_matrix(layer.free_kernel.value, (4, 4, 2))
        self.assertAllClose(after, expected, 1e-5)

    def test_rounds_must_be_positive(self):
        layer = self.build(layers.SVCMConv2D(2, 3), (4, 4), 2)
        with self.assertRaisesRegex(ValueError, "`rounds` must be"):
            layer.clip_singular_values(rounds=0)
