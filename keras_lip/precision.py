"""Float64 on every backend.

This is one of the few files that branch on the backend.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras


@contextlib.contextmanager
def float64_scope() -> Iterator[None]:
    """Makes a context in which what is computed from float64 is float64.

    Outside of it JAX rounds float64 tensors to float32, and so do some
    operations of Keras, such as `keras.ops.matmul`, on JAX and on torch.

    Raises:
        RuntimeError: If the installed Keras cannot be kept from rounding.
    """
    with _float64_backend(), _float64_promotion():
        if keras.backend.result_type("float64", "float64") != "float64":
            raise RuntimeError(
                f"Keras {keras.__version__} rounds float64 to float32 in a way "
                "that this library does not know how to prevent."
            )
        yield


def _float64_backend() -> contextlib.AbstractContextManager[Any]:
    if keras.backend.backend() == "jax":
        import jax

        if hasattr(jax, "enable_x64"):
            return jax.enable_x64(True)
        return jax.experimental.enable_x64()
    return contextlib.nullcontext()


@contextlib.contextmanager
def _float64_promotion() -> Iterator[None]:
    # Keras has no switch for this: it looks the dtype of a result up in a table
    # that has float32 for float64, except on TensorFlow.
    names = keras.backend.result_type.__globals__
    table = names.get("BIT64_TO_BIT32_DTYPE", {})
    before = dict(table)
    table["float64"] = "float64"
    try:
        yield
    finally:
        table.update(before)
