import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.operators import ConvolutionOperator
from tests.layers.convolutional.convolution_test_case import ConvolutionTestCase
from tests.lipschitz_test_case import to_numpy


class SkewFlowConv2DTest(ConvolutionTestCase):
    @parameterized.parameters(
        {"flow": "midpoint", "data_format": "channels_first"},
        {"flow": "exponential", "padding_mode": "zeros"},
    )
    def test_contract(self, **init_kwargs):
        first = init_kwargs.get("data_format") == "channels_first"
        shape = (2, 4, 6) if first else (4, 6, 2)
        self.run_lipschitz_layer_test(
            layers.SkewFlowConv2D,
            init_kwargs={
                "hidden_filters": 3,
                "kernel_size": 3,
                "generator_regularizer": "l2",
                # Without the power method, which is slow in a test.
                "step": 0.05,
                **init_kwargs,
            },
            input_shape=shape,
            expected_output_shape=shape,
            expected_bound=None,
        )

    @parameterized.parameters(
        ("midpoint", "circular"), ("exponential", "zeros")
    )
    def test_outputs_are_those_of_two_half_steps(self, flow, padding_mode):
        layer = layers.SkewFlowConv2D(
            3, 3, flow=flow, step=0.1, padding_mode=padding_mode
        )
        operator = ConvolutionOperator(padding_mode=padding_mode)
        x = self.normal(2, 4, 6, 2)
        self.build(layer, (4, 6), 2)
        outputs = to_numpy(layer(x)).reshape(2, -1)

        def matrix_of(kernel):
            matrix = operator.as_matrix(kernel, (4, 6, 2))
            return to_numpy(matrix).astype("float64")

        potential = matrix_of(layer.potential.kernel.value)
        flat = x.reshape(2, -1)
        bias = np.tile(to_numpy(layer.potential.bias), 24)
        hidden = np.maximum(flat @ potential.T + bias, 0)
        halfway = flat - 0.1 * hidden @ potential
        if flow == "midpoint":
            free = matrix_of(layer.rotation.free_kernel.value)
            half = free.T - free
            identity = np.eye(48)
            rotation = np.linalg.solve(identity - half, identity + half)
        else:
            half = matrix_of(layer.rotation._generator)
            frequencies, modes = np.linalg.eigh(half / 1j)
            rotation = (modes * np.exp(1j * frequencies)) @ modes.conj().T
            rotation = rotation.real
        self.assertAllClose(half, -half.T)
        self.assertGreater(np.abs(half).max(), 0.1)
        self.assertAllClose(outputs, halfway @ rotation.T, 1e-4)

    def test_second_step_preserves_the_norm(self):
        layer = layers.SkewFlowConv2D(3, 3, kernel_initializer="zeros")
        values = self.singular_values(self.matrix_of(layer, (4, 6), 2))
        self.assertAllClose(values, np.ones(48), 1e-5)
        self.assertAllClose(layer.lipschitz_bound(), 1, 1e-5)

    def test_inputs_that_are_no_images_are_refused(self):
        for shape in ((2,), (2, 4), (2, 4, 4), (2, 1, 4, 4, 2)):
            with self.assertRaisesRegex(ValueError, "expected ndim=4"):
                layers.SkewFlowConv2D(2, 3)(np.ones(shape))

    def test_invalid_arguments_are_refused(self):
        with self.assertRaisesRegex(ValueError, "Unknown flow: 'euler'"):
            layers.SkewFlowConv2D(3, 3, flow="euler")
        with self.assertRaisesRegex(ValueError, "`flow='exponential'`"):
            layers.SkewFlowConv2D(3, 3, padding_mode="zeros")
        with self.assertRaisesRegex(ValueError, "`hidden_filters` must be"):
            layers.SkewFlowConv2D(0, 3)
        with self.assertRaisesRegex(ValueError, "`kernel_size` must be odd"):
            even = layers.SkewFlowConv2D(3, 2, flow="exponential")
            even.build((None, 4, 6, 2))
        with self.assertRaisesRegex(ValueError, "known sides"):
            layers.SkewFlowConv2D(3, 3).build((None, None, 6, 2))
