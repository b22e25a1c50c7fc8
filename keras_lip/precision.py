"""Float64 on every backend.

This is one of the few files that branch on the backend.
"""

import contextlib
from typing import Any

import keras


def float64_scope() -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which float64 tensors are float64.

    JAX rounds them to float32 unless it is told not to; in this context it
    does not. The other backends need nothing.
    """
    if keras.backend.backend() == "jax":
        import jax

        if hasattr(jax, "enable_x64"):
            return jax.enable_x64(True)
        return jax.experimental.enable_x64()
    return contextlib.nullcontext()
