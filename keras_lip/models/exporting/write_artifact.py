"""An artifact of a stock model, written and run by any backend."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np

from keras_lip.types import Array

_PROGRAM = "keras_lip.models.exporting.writer_process"

# How much of what a converter says goes into an error.
_TAIL = 1500


def write_artifact(
    model: keras.Model,
    staged: pathlib.Path,
    name: str,
    backend: str,
    probes: Array,
) -> dict[str, Array]:
    """Writes an artifact, and runs it on probes.

    This is done in a process of its own: under any backend, on the processor,
    and without what converters leave behind in a process.

    Args:
        model: A functional model of stock layers.
        staged: Where to write the artifact: in a folder of its own, in a folder
            for what goes with it.
        name: Name of the format.
        backend: Name of the backend that writes it.
        probes: Array of inputs.

    Returns:
        Dict of the artifact's outputs.

    Raises:
        RuntimeError: If it cannot be written, or the runtime does not run what
            has been written.
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
            f"{backend}. Nothing has been written. Where the format lacks an "
            "operation, choose another format or layer. The converter says: "
            f"...{(process.stderr or process.stdout)[-_TAIL:]}"
        )
    with np.load(folder / "outputs.npz") as outputs:
        return dict(outputs)
