"""Full float32 precision on every backend.

This is one of the few files that branch on the backend.
"""

import contextlib
import contextvars
import functools
import threading
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras

_is_full: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "full_precision", default=False
)


def is_narrow(dtype: Any) -> bool:
    """Whether a dtype of floating-point numbers has less than 32 bits."""
    name = keras.backend.standardize_dtype(dtype)
    wide = ("float32", "float64")
    return keras.backend.is_float_dtype(name) and name not in wide


@contextlib.contextmanager
def full_precision_scope() -> Iterator[None]:
    """Makes a context in which products are computed in full float32.

    On GPUs backends may round factors to 10 bits (TF32), JAX on other
    accelerators may round them to bfloat16, and PyTorch may do so under
    `torch.autocast`. The context disables all of these, and restores the
    previous settings afterwards.
    """
    scopes = {
        "jax": _jax_full_precision,
        "tensorflow": _tensorflow_full_precision,
        "torch": _torch_full_precision,
    }
    with scopes.get(keras.backend.backend(), contextlib.nullcontext)():
        token = _is_full.set(True)
        try:
            yield
        finally:
            _is_full.reset(token)


def in_full_precision_scope() -> bool:
    """Whether the current code runs in a `full_precision_scope`."""
    return _is_full.get()


def _jax_full_precision() -> contextlib.AbstractContextManager[Any]:
    import jax

    if not is_accelerated() and jax.config.jax_default_matmul_precision is None:
        # A CPU computes in full precision. With the setting, JAX would compile
        # every operation again.
        return contextlib.nullcontext()
    return jax.default_matmul_precision("highest")


class _SharedSwitch:
    """Changes global settings while at least one thread needs it.

    The first thread that enters changes the settings, and the last thread that
    leaves restores them. Otherwise a thread that leaves earlier would restore
    them for the other threads.

    Args:
        read: Function without arguments that returns the settings.
        write: Function that applies settings.
        exact: The settings for full precision.
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

    # Autocast is a setting of the thread.
    with (
        _torch_switch().hold(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
    ):
        yield


def is_accelerated() -> bool:
    """Whether the backend computes on an accelerator instead of the CPU."""
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
