"""Full precision on every backend: float64, and float32 as it is defined.

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
    operations of Keras, such as `keras.ops.matmul`, on JAX and on torch. What
    is computed from float32 is not rounded further.

    Raises:
        RuntimeError: If the installed Keras cannot be kept from rounding.
    """
    with full_precision_scope(), _float64_backend(), _float64_promotion():
        if keras.backend.result_type("float64", "float64") != "float64":
            raise RuntimeError(
                f"Keras {keras.__version__} rounds float64 to float32 in a way "
                "that this library does not know how to prevent."
            )
        yield


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


@contextlib.contextmanager
def _tensorflow_full_precision() -> Iterator[None]:
    from tensorflow.config import experimental

    before = experimental.tensor_float_32_execution_enabled()
    experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        experimental.enable_tensor_float_32_execution(before)


@contextlib.contextmanager
def _torch_full_precision() -> Iterator[None]:
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
    before = [getattr(place, name) for place in places]
    try:
        for place in places:
            setattr(place, name, exact)
        with (
            torch.autocast("cpu", enabled=False),
            torch.autocast("cuda", enabled=False),
        ):
            yield
    finally:
        for place, value in zip(places, before, strict=True):
            setattr(place, name, value)


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
