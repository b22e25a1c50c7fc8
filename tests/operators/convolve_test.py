from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.operators import convolve
from keras_lip.scan import scan
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy
from tests.operators.new_tensors import count_new_tensors


def run(inputs, kernel, strides, padding, dilation_rate, scanned):
    """Convolves once, in a loop of one turn or without it."""

    def step(carry, slices):
        outputs = convolve.convolve(
            inputs, slices[0], strides, padding, dilation_rate
        )
        return carry + ops.sum(outputs**3), []

    if scanned:
        start = ops.zeros(())
        return scan(step, start, [ops.expand_dims(kernel, 0)], [])[0]
    return step(0.0, [kernel])[0]


class ConvolveTest(LipschitzTestCase):
    @parameterized.product(
        (
            {"window": (3, 2), "strides": (1, 1), "dilation_rate": (1, 1)},
            {"window": (3, 2), "strides": (2, 1), "dilation_rate": (1, 1)},
            {"window": (2, 2), "strides": (1, 1), "dilation_rate": (1, 2)},
            {"window": (4,), "strides": (1,), "dilation_rate": (1,)},
        ),
        padding=("same", "valid"),
    )
    def test_gradients_in_a_loop_are_those_outside(
        self, window, strides, dilation_rate, padding
    ):
        inputs = ops.convert_to_tensor(
            self.normal(3, *(6, 5)[: len(window)], 2)
        )
        kernel = ops.convert_to_tensor(self.normal(*window, 2, 4))
        for which in range(2):
            slopes = []
            for scanned in (False, True):

                def function(tensor, which=which, scanned=scanned):
                    pair = [inputs, kernel]
                    pair[which] = tensor
                    return run(*pair, strides, padding, dilation_rate, scanned)

                slopes.append(gradient(function, (inputs, kernel)[which]))
            self.assertGreater(np.abs(to_numpy(slopes[0])).max(), 1.0)
            self.assertAllClose(slopes[1], slopes[0], 1e-4, 1e-5)

    def test_groups_are_convolved_in_a_loop(self):
        inputs = ops.convert_to_tensor(self.normal(2, 5, 5, 4))
        kernel = ops.convert_to_tensor(self.normal(3, 3, 2, 4))
        sums = [
            run(inputs, kernel, (1, 1), "same", (1, 1), scanned)
            for scanned in (False, True)
        ]
        self.assertAllClose(sums[1], sums[0], 1e-3, 1e-5)

    def test_loops_on_cpus_use_their_own_gradient_on_jax(self):
        inputs = ops.convert_to_tensor(self.normal(2, 5, 2))
        kernel = ops.convert_to_tensor(self.normal(3, 2, 2))
        with mock.patch.object(
            convolve, "_convolve_in_loop", wraps=convolve._convolve_in_loop
        ) as own:
            run(inputs, kernel, (1,), "same", (1,), False)
            own.assert_not_called()
            run(inputs, kernel, (1,), "same", (1,), True)
        if keras.backend.backend() == "jax":
            import jax

            on_cpu = jax.default_backend() == "cpu"
            self.assertEqual(own.called, on_cpu)
        else:
            own.assert_not_called()

    @parameterized.product(
        (
            {"window": (3, 3), "strides": (1, 1), "dilation_rate": (1, 1)},
            {"window": (2, 3), "strides": (1, 1), "dilation_rate": (2, 1)},
            {"window": (4, 3), "strides": (1, 1), "dilation_rate": (1, 1)},
            {"window": (3, 2), "strides": (2, 1), "dilation_rate": (1, 1)},
            {"window": (3,), "strides": (1,), "dilation_rate": (2,)},
            {"window": (4,), "strides": (2,), "dilation_rate": (1,)},
        ),
        padding=("same", "valid"),
        channels=(1, 2, 4),
        groups=(1, 2),
    )
    def test_outputs_are_those_of_keras(
        self, window, strides, dilation_rate, padding, channels, groups
    ):
        inputs = self.normal(3, *(6, 5)[: len(window)], channels * groups)
        kernel = self.normal(*window, channels, 2 * groups)
        actual = convolve.convolve(
            ops.convert_to_tensor(inputs),
            ops.convert_to_tensor(kernel),
            strides,
            padding,
            dilation_rate,
        )
        expected = ops.conv(
            inputs,
            kernel,
            strides=strides,
            padding=padding,
            dilation_rate=dilation_rate,
            data_format="channels_last",
        )
        self.assertAllClose(actual, expected, 1e-5, 1e-5)

    @parameterized.product(batch_size=(1, 2), channels=(1, 3), filters=(1, 4))
    def test_gradient_of_small_shapes_is_exact(
        self, batch_size, channels, filters
    ):
        # Of `keras.ops.conv` PyTorch (2.13) has none for one sample and filter.
        inputs = ops.convert_to_tensor(self.normal(batch_size, 3, 4, channels))
        kernel = ops.convert_to_tensor(self.normal(2, 2, channels, filters))
        upstream = self.normal(batch_size, 2, 3, filters)

        def function(kernel):
            outputs = convolve.convolve(inputs, kernel, (1, 1), "valid", (1, 1))
            return ops.sum(ops.multiply(outputs, upstream))

        windows = np.lib.stride_tricks.sliding_window_view(
            to_numpy(inputs), (2, 2), axis=(1, 2)
        )
        expected = np.einsum("nhwcij,nhwk->ijck", windows, upstream)
        self.assertAllClose(gradient(function, kernel), expected, 1e-5, 1e-5)

    @parameterized.parameters("same", "valid")
    def test_images_are_not_copied_on_torch(self, padding):
        if keras.backend.backend() != "torch":
            self.skipTest("The others lay out tensors by themselves.")
        inputs = ops.convert_to_tensor(self.normal(8, 9, 9, 16))
        kernel = ops.convert_to_tensor(self.normal(3, 3, 16, 16))
        upstream = ops.convert_to_tensor(self.normal(8, 9, 9, 16))
        if padding == "valid":
            upstream = ops.copy(upstream[:, 1:-1, 1:-1])
        outputs = []

        def run():
            outputs.append(
                convolve.convolve(inputs, kernel, (1, 1), padding, (1, 1))
            )

        self.assertEqual(count_new_tensors(run, 8 * 7 * 7 * 16), 1)
        inputs.requires_grad_()
        run()
        count = count_new_tensors(
            lambda: outputs[-1].backward(upstream), 8 * 7 * 7 * 16
        )
        self.assertEqual(count, 1)
