import contextlib

import keras
import numpy as np
from absl.testing import parameterized
from keras import layers
from keras import ops

from keras_lip.precision import float64_scope
from keras_lip.precision import full_precision_scope
from tests.lipschitz_test_case import LipschitzTestCase

_ACTIVATIONS = (
    "elu",
    "gelu",
    "hard_sigmoid",
    "leaky_relu",
    "log_sigmoid",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "tanh",
)


class Float64ScopeTest(LipschitzTestCase):
    # Every layer whose logits are certified computes in float64.
    @parameterized.named_parameters(
        ("dense", lambda: layers.Dense(3, dtype="float64"), (4,)),
        ("conv", lambda: layers.Conv2D(2, 3, dtype="float64"), (4, 4, 1)),
        (
            "depthwise",
            lambda: layers.DepthwiseConv1D(3, dtype="float64"),
            (4, 1),
        ),
        (
            "transpose",
            lambda: layers.Conv1DTranspose(2, 3, dtype="float64"),
            (4, 1),
        ),
        ("batch", lambda: layers.BatchNormalization(dtype="float64"), (4,)),
        (
            "normalization",
            lambda: layers.Normalization(mean=0.3, variance=2, dtype="float64"),
            (4,),
        ),
        ("rescaling", lambda: layers.Rescaling(0.3, dtype="float64"), (4,)),
        ("mean", lambda: layers.AveragePooling1D(2, dtype="float64"), (4, 1)),
        ("max", lambda: layers.MaxPooling1D(dtype="float64"), (4, 1)),
        (
            "global",
            lambda: layers.GlobalAveragePooling1D(dtype="float64"),
            (4, 1),
        ),
        (
            "prelu",
            lambda: layers.PReLU(alpha_initializer="ones", dtype="float64"),
            (4,),
        ),
        *(
            (name, lambda n=name: layers.Activation(n, dtype="float64"), (4,))
            for name in _ACTIVATIONS
        ),
    )
    def test_layer_computes_in_float64(self, make, shape):
        with float64_scope():
            layer = make()
            inputs = keras.Input(shape, dtype="float64")
            self.assertDigits(keras.Model(inputs, layer(inputs)), shape)

    @parameterized.parameters(
        layers.Add,
        layers.Subtract,
        layers.Average,
        layers.Maximum,
        layers.Minimum,
        layers.Concatenate,
    )
    def test_merge_computes_in_float64(self, layer_cls):
        with float64_scope():
            inputs = keras.Input((4,), dtype="float64")
            branches = [inputs, 0.5 * inputs]
            outputs = layer_cls(dtype="float64")(branches)
            self.assertDigits(keras.Model(inputs, outputs), (4,))

    def test_operations_compute_in_float64(self):
        with float64_scope():
            x = ops.convert_to_tensor(np.eye(2) * (1 + 2.0**-40), "float64")
            for result in (
                ops.matmul(x, x),
                ops.tensordot(x, x, 1),
                ops.maximum(x, -x),
                ops.sort(x),
            ):
                largest = ops.convert_to_numpy(ops.max(result))
                self.assertGreater(largest, 1.0)
                self.assertLess(largest, 1 + 2.0**-38)

    def test_scope_leaves_keras_as_it_was(self):
        before = keras.backend.result_type("float64", "float64")
        integers = keras.backend.result_type("int64", "int64")
        with self.assertRaisesRegex(KeyError, "inside"), float64_scope():
            self.assertEqual(
                keras.backend.result_type("float64", "float32"), "float64"
            )
            raise KeyError("inside")
        after = keras.backend.result_type("float64", "float64")
        self.assertEqual(before, after)
        self.assertEqual(keras.backend.result_type("int64", "int64"), integers)
        self.assertEqual(
            keras.backend.result_type("float32", "float32"), "float32"
        )

    def test_keras_that_cannot_be_kept_from_rounding_is_refused(self):
        result_type = keras.backend.result_type
        self.addCleanup(setattr, keras.backend, "result_type", result_type)

        def rounding(*dtypes):
            return "float32"

        keras.backend.result_type = rounding
        with self.assertRaisesRegex(RuntimeError, "rounds float64 to float32"):
            with float64_scope():
                self.fail("The scope must not be entered.")

    def assertDigits(self, model, shape):
        """A step of 1e-7 is seen with four digits, so that eleven are right."""
        x = 0.5 * self.rng.normal(size=(1, *shape))
        step = self.rng.normal(size=(1, *shape))

        def change(size):
            points = np.concatenate([x, x + size * step])
            points = ops.convert_to_tensor(points, dtype="float64")
            outputs = ops.convert_to_numpy(model(points, training=False))
            self.assertEqual(outputs.dtype, "float64")
            return (outputs[1] - outputs[0]) / size

        expected = change(1e-5)
        error = np.abs(change(1e-7) - expected).max()
        self.assertLessEqual(error, 1e-4 * np.abs(expected).max())


class FullPrecisionScopeTest(LipschitzTestCase):
    def test_products_are_not_rounded_inside_but_are_again_after(self):
        with reduced_precision() as is_reduced:
            self.assertTrue(all(is_reduced()))
            with self.assertRaisesRegex(KeyError, "inside"):
                with full_precision_scope():
                    self.assertFalse(any(is_reduced()))
                    with full_precision_scope():
                        self.assertFalse(any(is_reduced()))
                    self.assertFalse(any(is_reduced()))
                    raise KeyError("inside")
            self.assertTrue(all(is_reduced()))

    def test_autocast_is_off_inside(self):
        if keras.backend.backend() != "torch":
            self.skipTest("Only PyTorch has a context that rounds products.")
        import torch

        x = torch.eye(2)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            self.assertEqual((x @ x).dtype, torch.bfloat16)
            with full_precision_scope():
                self.assertEqual((x @ x).dtype, torch.float32)
            self.assertEqual((x @ x).dtype, torch.bfloat16)


@contextlib.contextmanager
def reduced_precision():
    """Lets a backend round the factors of products to ten bits.

    Yields:
        A function that returns, for every switch, whether it does.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        with jax.default_matmul_precision("tensorfloat32"):
            yield lambda: [jax.config.jax_default_matmul_precision != "highest"]
    elif backend == "tensorflow":
        from tensorflow.config import experimental as switch

        before = switch.tensor_float_32_execution_enabled()
        switch.enable_tensor_float_32_execution(True)
        try:
            yield lambda: [switch.tensor_float_32_execution_enabled()]
        finally:
            switch.enable_tensor_float_32_execution(before)
    else:
        switches, name, rounded = torch_switches()
        before = [getattr(switch, name) for switch in switches]
        try:
            for switch in switches:
                setattr(switch, name, rounded)
            yield lambda: [getattr(s, name) == rounded for s in switches]
        finally:
            for switch, value in zip(switches, before, strict=True):
                setattr(switch, name, value)


def torch_switches():
    import torch

    backends = torch.backends
    if not hasattr(backends.cudnn, "conv"):
        # PyTorch before 2.9.
        return [backends.cuda.matmul, backends.cudnn], "allow_tf32", True
    switches = [
        backends.cuda.matmul,
        backends.cudnn.conv,
        backends.mkldnn.matmul,
        backends.mkldnn.conv,
    ]
    return switches, "fp32_precision", "tf32"
