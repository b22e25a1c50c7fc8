import keras
import numpy as np
from keras import ops

from keras_lip.traces import can_move
from keras_lip.traces import constant
from keras_lip.traces import is_compiling
from keras_lip.traces import is_concrete
from keras_lip.traces import is_eager_torch
from tests.lipschitz_test_case import LipschitzTestCase


class TracesTest(LipschitzTestCase):
    def test_numbers_are_concrete_and_variables_can_move(self):
        self.assertTrue(is_concrete(ops.ones((2,))))
        self.assertTrue(can_move(keras.Variable(np.ones(2))))

    def test_eager_tensors_of_torch_are_told_from_others(self):
        expected = keras.backend.backend() == "torch"
        self.assertEqual(is_eager_torch(ops.ones((2,))), expected)
        self.assertFalse(is_eager_torch(np.ones(2)))
        self.assertFalse(is_eager_torch(keras.KerasTensor((2,))))
        found = []

        def look(x):
            found.append(is_eager_torch(x))
            return x

        if expected:
            import torch

            torch.compile(look, backend="eager")(ops.ones((2,)))
            self.assertEqual(found, [False])

    def test_traced_tensors_are_not_concrete(self):
        found = []

        def look(x):
            found.append(is_concrete(x))
            return x

        if keras.backend.backend() == "jax":
            import jax

            jax.jit(look)(ops.ones((2,)))
        elif keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.function(look)(ops.ones((2,)))
        else:
            self.skipTest("PyTorch traces nothing.")
        self.assertEqual(found, [False])

    def test_variables_cannot_move_inside_of_loops_on_jax(self):
        if keras.backend.backend() != "jax":
            self.skipTest("Only JAX traces the body of a loop apart.")
        import jax

        found = {}

        def look(name, state):
            found[name] = can_move(state)

        def loss(weights, state):
            look("gradient", state)

            def body(carry, _):
                look("loop", state)
                return carry + state, None

            carry, _ = jax.lax.scan(body, weights, None, length=2)
            return carry.sum()

        def step(weights, state):
            look("step", state)
            return jax.grad(loss)(weights, state)

        jax.jit(step)(ops.ones((2,)), ops.ones((2,)))
        self.assertEqual(found, {"step": True, "gradient": True, "loop": False})

    def test_compiler_of_torch_is_noticed(self):
        found = []

        def look(x):
            found.append(is_compiling())
            return x + 1

        look(ops.ones((2,)))
        if keras.backend.backend() == "torch":
            import torch

            # What is appended is seen once the graph has run.
            torch.compile(look, backend="eager")(ops.ones((2,)))
            self.assertEqual(found, [False, True])
        else:
            self.assertEqual(found, [False])

    def test_constant_is_what_its_function_returns(self):
        @constant
        def make(sides, dtype):
            return ops.convert_to_tensor(np.cos(np.eye(*sides)), dtype=dtype)

        def use(x):
            return ops.matmul(x, make((2, 3), x.dtype))

        x = ops.convert_to_tensor(self.normal(4, 2))
        expected = ops.matmul(x, np.cos(np.eye(2, 3)).astype("float32"))
        self.assertAllClose(use(x), expected)
        if keras.backend.backend() == "torch":
            import torch

            self.needs_newer_torch()
            use = torch.compile(use, fullgraph=True, backend="eager")
            self.assertAllClose(use(x), expected)
