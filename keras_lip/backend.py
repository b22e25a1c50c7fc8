"""Imports Keras, and says what to install if its backend is unfit."""

import os
import re
import sys

_BACKENDS = ("tensorflow", "jax", "torch")


def explain(error: Exception) -> Exception:
    """Returns the error to raise if Keras cannot be imported.

    Args:
        error: The error of the import.

    Returns:
        An `ImportError` that says how to install a backend, if the package of
        one is missing or Keras does not know its name, and otherwise `error`.
    """
    chosen = os.environ.get("KERAS_BACKEND")
    missing = getattr(error, "name", None)
    unknown = isinstance(error, ValueError) and "backend" in str(error)
    if missing not in _BACKENDS and not unknown:
        return error
    return ImportError(
        f"Keras cannot be imported: {error}. Install a backend, for example "
        f'with pip install "keras-lip[{missing or "tensorflow"}]", and name it '
        'in the environment variable KERAS_BACKEND: "tensorflow", "jax" or '
        f'"torch". Received: KERAS_BACKEND={chosen!r}'
    )


def check_jax(version: str) -> None:
    """Raises an `ImportError` if a version of JAX corrupts weights.

    On a CPU, JAX 0.5 may overwrite a model's variables during `predict`,
    `evaluate` and `fit` if NumPy has viewed them before: the compiled steps of
    Keras donate their buffers. It does not without views or without donation.
    """
    release = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if release < (0, 6):
        raise ImportError(
            "JAX before 0.6 may overwrite the weights of models that NumPy has "
            "read. Install a newer one: pip install 'jax>=0.6'. Received: JAX "
            f"{version}"
        )


def runs_command() -> bool:
    """Returns whether this is the import of `python -m keras_lip`."""
    # Until Python has found the module, `-m` stands for its path.
    return sys.argv[:1] == ["-m"] and bool(
        re.search(r" -\w*m ?keras_lip( |$)", " ".join(sys.orig_argv))
    )


try:
    import keras

    if keras.backend.backend() == "jax":
        import jax

        check_jax(jax.__version__)
except (ImportError, ValueError) as error:
    explained = explain(error)
    # Python imports a package before its `__main__` can catch anything.
    if runs_command():
        raise SystemExit(f"keras_lip: {explained}") from error
    if explained is error:
        raise
    raise explained from error
