import contextlib
import threading

import keras

from keras_lip.precision import full_precision_scope
from keras_lip.precision import is_accelerated
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


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

    def test_on_a_cpu_nothing_is_compiled_again(self):
        if keras.backend.backend() != "jax" or is_accelerated():
            self.skipTest("Only JAX compiles for each precision.")
        import jax

        def count(event, duration, **kwargs):
            if event.endswith("backend_compile_duration"):
                compiled.append(event)

        compiled = []
        x = keras.ops.convert_to_tensor(self.normal(7, 11))
        jax.monitoring.register_event_duration_secs_listener(count)
        try:
            outside = keras.ops.matmul(x, keras.ops.transpose(x))
            self.assertNotEmpty(compiled)
            compiled.clear()
            with full_precision_scope():
                inside = keras.ops.matmul(x, keras.ops.transpose(x))
            self.assertEmpty(compiled)
        finally:
            # JAX 0.6 cannot do so, and counts on.
            if hasattr(jax.monitoring, "unregister_event_duration_listener"):
                jax.monitoring.unregister_event_duration_listener(count)
        self.assertAllClose(inside, outside, 0, 0)
        exact = to_numpy(x).astype("float64")
        self.assertAllClose(inside, exact @ exact.T, 1e-5, 1e-5)

    def test_a_thread_that_leaves_does_not_reduce_that_of_another(self):
        if keras.backend.backend() == "jax":
            self.skipTest("JAX keeps the precision of every thread apart.")
        entered, left = threading.Event(), threading.Event()

        def stay():
            with full_precision_scope():
                entered.set()
                left.wait()

        with reduced_precision() as is_reduced:
            other = threading.Thread(target=stay)
            with full_precision_scope():
                other.start()
                entered.wait()
            self.assertFalse(any(is_reduced()))
            left.set()
            other.join()
            self.assertTrue(all(is_reduced()))


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
