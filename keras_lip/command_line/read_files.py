"""Reads models and data from files that users name."""

import pathlib
import re
import zipfile
from typing import Any

import keras
import numpy as np

from keras_lip.types import Array

# Names of inputs and labels in a file, in the order in which they are tried.
_NAMES = (("x", "y"), ("x_test", "y_test"))


def read_model(path: pathlib.Path) -> keras.Model:
    """Loads a `.keras` file in Keras's safe mode.

    Args:
        path: Path of the file.

    Returns:
        The model, not compiled.

    Raises:
        ValueError: If there is no such file, it is not a `.keras` file, holds
            Python code or an unknown class, or is damaged.
    """
    _check_file(path)
    if not zipfile.is_zipfile(path):
        raise ValueError(
            "A model must be a file in the `.keras` format, which `model.save("
            f"'model.keras')` writes. Received: {str(path)!r}"
        )
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    # Keras raises errors of many kinds for a file that it cannot read.
    except Exception as error:
        raise ValueError(_explain(path, error)) from error


def read_data(path: pathlib.Path) -> tuple[Array, Array]:
    """Loads inputs and labels from an `.npz` file.

    Args:
        path: Path of a file with the arrays `x` and `y`, or `x_test` and
            `y_test`.

    Returns:
        Tuple of the arrays.

    Raises:
        ValueError: If there is no such file, it is not an `.npz` file, is
            damaged, or holds no such arrays.
    """
    _check_file(path)
    if not zipfile.is_zipfile(path):
        raise ValueError(
            "The data must be an `.npz` file, which `numpy.savez('data.npz', "
            f"x=inputs, y=labels)` writes. Received: {str(path)!r}"
        )
    try:
        # For a damaged file `np.load` would not close a path.
        with (
            path.open("rb") as stream,
            np.load(stream, allow_pickle=False) as arrays,
        ):
            for inputs, labels in _NAMES:
                if inputs in arrays and labels in arrays:
                    return arrays[inputs], arrays[labels]
            names = ", ".join(map(repr, arrays)) or "no arrays"
    # A damaged archive fails in as many ways as it can be damaged.
    except Exception as error:
        raise ValueError(
            f"The data {str(path)!r} cannot be read by NumPy "
            f"{np.__version__}: {type(error).__name__}: {error}. Write the "
            "file again."
        ) from error
    raise ValueError(
        "The data must be arrays 'x' and 'y', or 'x_test' and 'y_test'. "
        f"Received: {names} in {str(path)!r}"
    )


def _check_file(path: pathlib.Path) -> None:
    if not path.is_file():
        raise ValueError(f"There is no such file. Received: {str(path)!r}")


def _explain(path: pathlib.Path, error: Exception) -> str:
    message = str(error)
    if "arbitrary code execution" in message:
        return (
            f"The model {str(path)!r} holds a `Lambda` layer, whose Python "
            "code is not run. If you trust its author, load it in Python with "
            "`keras.saving.load_model(path, safe_mode=False)` and certify it "
            "there."
        )
    unknown: Any = re.search(r"Could not locate \w+ '([^']+)'", message)
    if unknown:
        return (
            f"The model {str(path)!r} holds '{unknown[1]}', which is neither "
            "of Keras nor of keras_lip. Import its definition in Python, load "
            "the model and certify it there."
        )
    return (
        f"The model {str(path)!r} cannot be read by Keras "
        f"{keras.__version__}: {type(error).__name__}: {message.strip()[:300]}"
    )
