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
