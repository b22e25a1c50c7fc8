import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip.autodiff import gradient
from tests.layers.convolutional.convolution_test_case import ConvolutionTestCase
from tests.lipschitz_test_case import to_numpy

IMAGE = (5, 6)
CONVOLUTIONS = (
    (layers.LipschitzResidualConv2D, {"scale": 0.5}),
    (layers.FreeConv2D, {}),
    (layers.FreeConv2D, {"strides": 2}),
)


class LipschitzResidualConv2DTest(ConvolutionTestCase):
    @parameterized.parameters(
        {"padding_mode": "circular"},
        {"padding_mode": "zeros", "scale": -0.25, "use_bias": False},
        {"padding": "valid", "activation": "sigmoid"},
        {"kernel_size": (2, 4), "filters": 3},
    )
    def test_contract(self, **kwargs):
        kwargs = {"filters": 2, "kernel_size": 3, **kwargs}
        sides = (2, 4) if kwargs.get("padding") == "valid" else (4, 6)
        self.run_lipschitz_layer_test(
            layers.LipschitzResidualConv2D,
            init_kwargs=kwargs,
            input_shape=(4, 6, 2),
            expected_output_shape=(*sides, kwargs["filters"]),
            expected_bound=None,
        )

    def test_contract_of_the_free_convolution(self):
        self.run_lipschitz_layer_test(
            layers.FreeConv2D,
            init_kwargs={"filters": 3, "kernel_size": 3, "strides": 2},
            input_shape=(4, 6, 2),
            expected_output_shape=(2, 3, 3),
            expected_bound=None,
        )

    @parameterized.product(
        kernel_size=(1, 3, (2, 4)),
        padding=("circular", "zeros", "valid"),
        filters=(2, 3, 5),
    )
    def test_outputs_are_the_input_and_a_multiple_of_the_convolution(
        self, kernel_size, padding, filters
    ):
        same = padding != "valid"
        layer = layers.LipschitzResidualConv2D(
            filters,
            kernel_size,
            padding="same" if same else "valid",
            padding_mode=padding if same else "zeros",
            scale=-0.5,
        )
        self.build(layer, IMAGE, 3)
        x = self.normal(2, *IMAGE, 3)
        taps = layer.kernel_size
        before = [(n - 1) // 2 for n in taps]
        kept = np.zeros((*x.shape[:-1], filters))
        kept[..., : min(3, filters)] = x[..., :filters]
        widths = [(b, n - 1 - b) for b, n in zip(before, taps, strict=True)]
        padded = x
        if same:
            mode = "wrap" if padding == "circular" else "constant"
            padded = np.pad(x, [(0, 0), *widths, (0, 0)], mode=mode)
        else:
            kept = kept[
                :,
                before[0] : before[0] + IMAGE[0] - taps[0] + 1,
                before[1] : before[1] + IMAGE[1] - taps[1] + 1,
            ]
        convolved = ops.conv(padded, layer.free_kernel, padding="valid")
        gamma, bias = to_numpy(layer.gamma), to_numpy(layer.bias)
        expected = kept - 0.5 * gamma * to_numpy(convolved) + bias
        self.assertAllClose(layer(x), expected, 1e-5, 1e-5)

    @parameterized.product(
        scale=(0.0, 0.1, -1.0), padding=("circular", "zeros")
    )
    def test_bound_is_the_norm_of_the_sum(self, scale, padding):
        layer = layers.LipschitzResidualConv2D(
            2, 3, padding_mode=padding, scale=scale
        )
        self.build(layer, (12, 12), 2)
        norm = self.check_norm(layer, (12, 12), 2, tolerance=None).max()
        bound = layer.lipschitz_bound()
        self.assertLessEqual(norm, bound * (1 + 1e-6))
        # The norm on images of any size is that of the largest of them.
        slack = 1e-5 if scale == 0 else 2e-2 if padding == "circular" else 0.06
        self.assertLessEqual(bound, norm * (1 + slack))

    def test_bound_sees_what_the_sum_cancels(self):
        layer = layers.LipschitzResidualConv2D(2, 3, scale=-1.0)
        layer.build((None, *IMAGE, 2))
        kernel = np.zeros((3, 3, 2, 2))
        kernel[1, 1] = 0.75 * np.eye(2)
        layer.free_kernel.assign(kernel)
        self.assertAlmostEqual(layer.lipschitz_bound(), 0.25, delta=1e-6)
        layer.free_kernel.assign(-kernel)
        self.assertAlmostEqual(layer.lipschitz_bound(), 1.75, delta=1e-6)

    def test_bound_is_of_the_rounded_sum(self):
        # In bfloat16 one and a thousandth is one.
        layer = layers.LipschitzResidualConv2D(1, 1, dtype="mixed_bfloat16")
        layer.build((None, 2, 2, 1))
        layer.free_kernel.assign(np.full((1, 1, 1, 1), 1e-3))
        self.assertAlmostEqual(layer.lipschitz_bound(), 1.0, delta=1e-12)
        layer = layers.LipschitzResidualConv2D(1, 1)
        layer.build((None, 2, 2, 1))
        layer.free_kernel.assign(np.full((1, 1, 1, 1), 1e-3))
        exact = float(np.float32(1) + np.float32(1e-3))
        self.assertGreaterEqual(layer.lipschitz_bound(), exact)
        self.assertLessEqual(layer.lipschitz_bound(), exact * (1 + 1e-12))

    def test_it_starts_near_the_identity(self):
        layer = layers.LipschitzResidualConv2D(16, 3)
        layer.build((None, 8, 8, 16))
        self.assertBetween(layer.lipschitz_bound(), 1.0, 1.5)

    @parameterized.parameters(*CONVOLUTIONS)
    def test_estimate_is_the_norm_on_the_image(self, cls, kwargs):
        layer = cls(2, 3, **kwargs)
        self.build(layer, (6, 6), 2)
        values = self.singular_values(self.matrix_of(layer, (6, 6), 2))
        for _ in range(30):
            layer._estimate_bound(training=True)
        estimate = float(to_numpy(layer._estimate_bound(training=False)))
        self.assertAlmostEqual(estimate, values.max(), delta=1e-3)
        self.assertLessEqual(estimate, layer.lipschitz_bound() * (1 + 1e-6))

    @parameterized.parameters(*CONVOLUTIONS)
    def test_state_moves_where_training_asks_for_the_norm(self, cls, kwargs):
        layer = cls(2, 3, **kwargs)
        self.build(layer, (6, 6), 2)
        (state,) = layer.non_trainable_weights
        start = to_numpy(state).copy()
        layer(self.normal(2, 6, 6, 2), training=True)
        layer._estimate_bound(training=False)
        self.assertAllClose(state, start, 0, 0)
        layer.trainable = False
        layer._estimate_bound(training=True)
        self.assertAllClose(state, start, 0, 0)
        layer.trainable = True
        first = float(to_numpy(layer._estimate_bound(training=True)))
        self.assertGreater(np.abs(to_numpy(state) - start).max(), 0)
        for _ in range(10):
            last = float(to_numpy(layer._estimate_bound(training=True)))
        exact = self.singular_values(self.matrix_of(layer, (6, 6), 2)).max()
        self.assertLess(first, last)
        self.assertAlmostEqual(last, exact, delta=1e-3)

    def test_estimate_has_the_gradient_of_the_norm(self):
        layer = layers.LipschitzResidualConv2D(2, 3, scale=0.5)
        self.build(layer, (6, 6), 2)
        for _ in range(30):
            layer._estimate_bound(training=True)
        state = [ops.convert_to_tensor(w) for w in layer.non_trainable_weights]
        rest = [ops.convert_to_tensor(w) for w in layer.trainable_weights[1:]]
        kernel = to_numpy(layer.free_kernel)

        def estimate(kernel):
            variables = (
                layer.trainable_variables + layer.non_trainable_variables
            )
            mapping = zip(variables, [kernel, *rest, *state], strict=True)
            with keras.StatelessScope(state_mapping=list(mapping)):
                return layer._estimate_bound(training=False)

        slope = to_numpy(gradient(estimate, ops.convert_to_tensor(kernel)))

        def exact(kernel):
            layer.free_kernel.assign(kernel)
            return self.singular_values(self.matrix_of(layer, (6, 6), 2)).max()

        for _ in range(3):
            step = self.normal(*kernel.shape, scale=1e-2)
            change = (exact(kernel + step) - exact(kernel - step)) / 2
            self.assertAlmostEqual(change, np.sum(slope * step), delta=2e-3)

    def test_scale_is_that_which_runs(self):
        layer = layers.LipschitzResidualConv2D(1, 1, scale=1.0)
        layer.build((None, 2, 2, 1))
        layer.free_kernel.assign(np.ones((1, 1, 1, 1)))
        layer.scale = 3.0
        self.assertEqual(layer.get_config()["scale"], 3.0)
        self.assertAlmostEqual(layer.lipschitz_bound(), 4.0, delta=1e-6)
        self.assertAllClose(
            layer(np.ones((1, 2, 2, 1))), np.full((1, 2, 2, 1), 4)
        )
        with self.assertRaisesRegex(ValueError, "`scale`"):
            layer.scale = float("inf")

    def test_data_formats_agree(self):
        self.check_data_formats_agree(
            layers.LipschitzResidualConv2D, filters=4, kernel_size=3, scale=0.5
        )

    def test_image_sizes_may_be_unknown(self):
        self.check_unknown_sizes(
            layers.LipschitzResidualConv2D, filters=3, kernel_size=3
        )

    @parameterized.parameters("0.5", None, float("nan"), 1e39)
    def test_scale_must_be_a_number(self, scale):
        for cls, arguments in (
            (layers.LipschitzResidualConv2D, (2, 3)),
            (layers.LipschitzResidualDense, (2,)),
        ):
            with self.assertRaisesRegex((TypeError, ValueError), "`scale`"):
                cls(*arguments, scale=scale)


class LipschitzResidualDenseTest(ConvolutionTestCase):
    @parameterized.parameters(
        {"units": 5},
        {"units": 3, "scale": -0.5, "use_bias": False},
        {"units": 8, "activation": "tanh"},
    )
    def test_contract(self, **kwargs):
        self.run_lipschitz_layer_test(
            layers.LipschitzResidualDense,
            init_kwargs=kwargs,
            input_shape=(5,),
            expected_output_shape=(kwargs["units"],),
            expected_bound=None,
        )

    @parameterized.parameters(3, 5, 8)
    def test_bound_and_estimate_are_the_norm_of_the_sum(self, units):
        layer = layers.LipschitzResidualDense(units, scale=0.5)
        layer.build((None, 5))
        for weight in layer.trainable_weights:
            weight.assign(self.normal(*weight.shape))
        product = to_numpy(layer.free_kernel) * to_numpy(layer.gamma)
        matrix = np.eye(5, units) + 0.5 * product
        x = self.normal(4, 5)
        expected = x @ matrix + to_numpy(layer.bias)
        self.assertAllClose(layer(x), expected, 1e-5, 1e-5)
        self.assertAllClose(layer(x, training=True), expected, 1e-5, 1e-5)
        norm = self.singular_values(matrix).max()
        self.assertAlmostEqual(layer.lipschitz_bound(), norm, delta=1e-5)
        start = to_numpy(layer.power_iteration_vector).copy()
        estimate = float(to_numpy(layer._estimate_bound(training=False)))
        self.assertAlmostEqual(estimate, norm, delta=1e-3)
        self.assertAllClose(layer.power_iteration_vector, start, 0, 0)
        layer._estimate_bound(training=True)
        moved = to_numpy(layer.power_iteration_vector)
        self.assertGreater(np.abs(moved - start).max(), 0)

    def test_activation_counts_in_the_estimate(self):
        layer = layers.LipschitzResidualDense(
            4, activation="sigmoid", scale=0.0
        )
        layer.build((None, 4))
        estimate = layer._estimate_bound(training=False)
        self.assertAlmostEqual(float(to_numpy(estimate)), 0.25, delta=1e-6)
        self.assertAlmostEqual(layer.lipschitz_bound(), 0.25, delta=1e-6)
