"""Imports Keras, and says what to install if its backend is missing."""

import os


def explain(error: Exception) -> ImportError:
    """Returns the error to raise if Keras cannot be imported.

    Args:
        error: The error of the import.
    """
    chosen = os.environ.get("KERAS_BACKEND")
    backend = getattr(error, "name", None) or chosen
    known = ("tensorflow", "jax", "torch")
    extra = backend if backend in known else "tensorflow"
    return ImportError(
        f"Keras cannot be imported: {error}. Install a backend, for example "
        f'with pip install "keras-lip[{extra}]", and name it in the '
        'environment variable KERAS_BACKEND: "tensorflow", "jax" or "torch". '
        f"Received: KERAS_BACKEND={chosen!r}"
    )


try:
    import keras  # noqa: F401
except (ImportError, ValueError) as error:
    raise explain(error) from error
