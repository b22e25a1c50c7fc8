"""Writes an artifact of a stock model in a separate process.

Run as `python -m keras_lip.models.exporting.writer_process folder format path`,
under the backend that writes the format. The folder contains `model.keras` and
`probes.npy`. The artifact is written to the path, and its outputs at the probes
to `outputs.npz` in the folder.
"""

import pathlib
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_lip.graph import deep_recursion
from keras_lip.models.exporting.certified_model import OUTPUTS
from keras_lip.types import Array

# Runs a batch, and returns a dict of the outputs.
Run = Callable[[Array], Any]


def main(arguments: list[str]) -> None:
    """Writes an artifact, and runs it."""
    folder, name, path = arguments
    place = pathlib.Path(folder)
    with deep_recursion():
        model = keras.models.load_model(place / "model.keras", compile=False)
        probes = np.load(place / "probes.npy")
    # Keras can export a model to ONNX only after the model was called.
    model(probes[:1])
    _write(model, path, name)
    run = _RUNTIMES[name](path)
    outputs = run(probes)
    np.savez(place / "outputs.npz", **{key: outputs[key] for key in OUTPUTS})
    # The batch size stays free.
    run(probes[:1])


def _write(model: Any, path: str, name: str) -> None:
    options: dict[str, Any] = {}
    if name == "torch":
        import torch

        # Otherwise Keras fixes the batch size.
        options["dynamic_shapes"] = {0: torch.export.Dim.AUTO}
    model.export(path, format=name, verbose=False, **options)
    if name == "onnx" and keras.backend.backend() == "torch":
        _name_outputs(path)


def _name_outputs(path: str) -> None:
    """Names the outputs of an ONNX model, because PyTorch only numbers them."""
    import onnx

    model = onnx.load(path)
    # The outputs of a dict are in the order of its keys.
    for output, name in zip(model.graph.output, sorted(OUTPUTS), strict=True):
        model.graph.node.append(
            onnx.helper.make_node("Identity", [output.name], [name])
        )
        output.name = name
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _run_saved_model(path: str) -> Run:
    import tensorflow as tf

    signature = tf.saved_model.load(path).signatures["serving_default"]
    return lambda x: {
        key: value.numpy()
        for key, value in signature(inputs=tf.constant(x)).items()
    }


def _run_onnx(path: str) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )
    return lambda x: dict(
        zip(OUTPUTS, session.run(OUTPUTS, {"inputs": x}), strict=True)
    )


def _run_litert(path: str) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=path).get_signature_runner()
    return lambda x: runner(inputs=x)


def _run_openvino(path: str) -> Run:
    import openvino

    # OpenVINO would use 16-bit numbers where the processor supports them.
    compiled = openvino.Core().compile_model(
        path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )

    def run(x: Array) -> Any:
        outputs = compiled(x)
        return {name: outputs[name] for name in OUTPUTS}

    return run


def _run_torch(path: str) -> Run:
    import torch

    module = torch.export.load(path).module()
    return lambda x: {
        key: value.detach().cpu().numpy()
        for key, value in module(torch.from_numpy(x)).items()
    }


_RUNTIMES: dict[str, Callable[[str], Run]] = {
    "tf_saved_model": _run_saved_model,
    "onnx": _run_onnx,
    "litert": _run_litert,
    "openvino": _run_openvino,
    "torch": _run_torch,
}

if __name__ == "__main__":
    main(sys.argv[1:])
