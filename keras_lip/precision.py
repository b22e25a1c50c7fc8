"""Full precision on every backend: float32 as it is defined.

This is one of the few files that branch on the backend.
"""

import contextlib
import functools
import threading
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras


@contextlib.contextmanager
def full_precision_scope() -> Iterator[None]:
    """Makes a context in which float32 products are float32 products.

    On GPUs backends may round the factors to 10 bits (TF32), and JAX on other
    accelerators to bfloat16; PyTorch may do so in a context of
    `torch.autocast`. None of it happens inside, and what was set before is set
    again afterwards.
    """
    scopes = {
        "jax": _jax_full_precision,
        "tensorflow": _tensorflow_full_precision,
        "torch": _torch_full_precision,
    }
    with scopes.get(keras.backend.backend(), contextlib.nullcontext)():
        yield


def _jax_full_precision() -> contextlib.AbstractContextManager[Any]:
    import jax

    return jax.default_matmul_precision("highest")


class _SharedSwitch:
    """Holds settings of the whole process off while any thread needs it.

    The first thread that comes in sets them and the last that leaves sets them
    back: one that leaves earlier would turn them on under the others.

    Args:
        read: Function without arguments that returns the settings.
        write: Function that takes settings and makes them hold.
        exact: The settings of full precision.
    """

    def __init__(
        self, read: Callable[[], Any], write: Callable[[Any], None], exact: Any
    ) -> None:
        self._read, self._write, self._exact = read, write, exact
        self._lock = threading.Lock()
        self._users = 0
        self._before: Any = None

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        with self._lock:
            if not self._users:
                self._before = self._read()
                self._write(self._exact)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._write(self._before)


@functools.cache
def _tensorflow_switch() -> _SharedSwitch:
    from tensorflow.config import experimental

    return _SharedSwitch(
        experimental.tensor_float_32_execution_enabled,
        experimental.enable_tensor_float_32_execution,
        False,
    )


def _tensorflow_full_precision() -> contextlib.AbstractContextManager[None]:
    return _tensorflow_switch().hold()


@functools.cache
def _torch_switch() -> _SharedSwitch:
    import torch

    backends = torch.backends
    name: str = "allow_tf32"
    exact: Any = False
    places: list[Any] = [backends.cuda.matmul]
    if hasattr(backends.cudnn, "conv"):
        name, exact = "fp32_precision", "ieee"
        places += [
            backends.cudnn.conv,
            backends.mkldnn.matmul,
            backends.mkldnn.conv,
        ]
    else:
        # PyTorch before 2.9.
        places.append(backends.cudnn)

    def write(values: list[Any]) -> None:
        for place, value in zip(places, values, strict=True):
            setattr(place, name, value)

    return _SharedSwitch(
        lambda: [getattr(place, name) for place in places],
        write,
        [exact] * len(places),
    )


@contextlib.contextmanager
def _torch_full_precision() -> Iterator[None]:
    import torch

    # Autocasts are a matter of the thread.
    with (
        _torch_switch().hold(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
    ):
        yield


def is_accelerated() -> bool:
    """Whether the backend computes on something else than the processor."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return len(tf.config.list_logical_devices()) > len(
            tf.config.list_logical_devices("CPU")
        )
    if backend == "jax":
        import jax

        return bool(jax.default_backend() != "cpu")
    if backend == "torch":
        import torch

        return bool(torch.accelerator.is_available())
    return True
