"""Writes and runs an artifact of a stock model with any backend."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np

from keras_lip.types import Array

_PROGRAM = "keras_lip.models.exporting.writer_process"

# Number of characters of a converter's output in an error message.
_TAIL = 1500


def write_artifact(
    model: keras.Model,
    staged: pathlib.Path,
    name: str,
    backend: str,
    probes: Array,
) -> dict[str, Array]:
    """Writes an artifact, and runs it on probes.

    This runs in a separate process, so that any backend can be used on the CPU
    and converters leave no state behind.

    Args:
        model: A functional model of stock layers.
        staged: Path of the artifact, in its own folder. The parent of that
            folder holds temporary files.
        name: Name of the format.
        backend: Name of the backend that writes it.
        probes: Array of inputs.

    Returns:
        Dict of the artifact's outputs.

    Raises:
        RuntimeError: If the artifact cannot be written, or the runtime cannot
            run it.
    """
    folder = staged.parent.parent
    model.save(folder / "model.keras")
    np.save(folder / "probes.npy", probes)
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    process = subprocess.run(
        [
            *(sys.executable, "-m", _PROGRAM),
            *(str(folder), name, str(staged)),
        ],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if process.returncode != 0:
        raise RuntimeError(
            f"Model '{model.name}' could not be exported to {name!r} by "
            f"{backend}. Nothing has been written. If the format lacks an "
            "operation, choose another format or layer. The converter says: "
            f"...{(process.stderr or process.stdout)[-_TAIL:]}"
        )
    with np.load(folder / "outputs.npz") as outputs:
        return dict(outputs)
