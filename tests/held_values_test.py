import keras
import numpy as np
from keras import ops

from keras_lip import layers
from keras_lip.held_values import compute_once
from keras_lip.held_values import holding_values
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class ComputeOnceTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.layer = layers.OrthogonalDense(3)
        self.layer.build((None, 3))
        self.calls = 0
        self.plant(
            layers.OrthogonalDense, "_constrain", lambda layer: self.compute()
        )

    def compute(self):
        self.calls += 1
        return self.layer.kernel, ops.sum(self.layer.kernel)

    def test_nothing_is_held_outside(self):
        for _ in range(3):
            compute_once(self.layer)
        # JAX traces the computation once, and runs it three times.
        is_jax = keras.backend.backend() == "jax"
        self.assertEqual(self.calls, 1 if is_jax else 3)

    def test_values_are_held_inside_and_after_it_is_entered_again(self):
        held = {}
        for _ in range(2):
            with holding_values(held):
                for _ in range(3):
                    kernel, total = compute_once(self.layer)
        self.assertEqual(self.calls, 1)
        self.assertAllClose(kernel, self.layer.kernel)
        self.assertAllClose(total, np.sum(to_numpy(kernel)))

    def test_other_weights_have_values_of_their_own(self):
        # As in the turns of a loop over blocks of one kind.
        weights = [np.diag([1.0, 2.0, 3.0]), self.normal(3, 3)]
        expected = []
        for value in weights:
            self.layer.free_kernel.assign(value)
            expected.append(to_numpy(self.layer.kernel))
        with holding_values({}):
            for _ in range(2):
                for value, kernel in zip(weights, expected, strict=True):
                    tensor = ops.convert_to_tensor(value, dtype="float32")
                    mapping = [(self.layer.free_kernel, tensor)]
                    with keras.StatelessScope(state_mapping=mapping):
                        found, _ = compute_once(self.layer)
                    self.assertAllClose(found, kernel)

    def test_what_is_traced_is_not_held(self):
        if keras.backend.backend() == "torch":
            self.skipTest("PyTorch traces nothing.")
        held = {}

        def run(x):
            with holding_values(held):
                kernel, _ = compute_once(self.layer)
            return ops.matmul(x, kernel)

        x = ops.convert_to_tensor(self.normal(2, 3))
        if keras.backend.backend() == "jax":
            import jax

            traced = jax.jit(lambda x: run(x + 0))
        else:
            import tensorflow as tf

            traced = tf.function(run)
        self.assertAllClose(traced(x), run(x), atol=1e-5)
