"""The formats that a model can be exported to."""

import importlib.util
from typing import NamedTuple

import keras

from keras_lip.validation import check_known


class Format(NamedTuple):
    """The requirements of a format.

    Attributes:
        suffix: Suffix of the path. A SavedModel is a folder, of any name.
        backends: Keras backends that can write it, the default first.
        packages: Packages of the extra `export` that write or run it.
    """

    suffix: str
    backends: tuple[str, ...]
    packages: tuple[str, ...]


FORMATS = {
    "tf_saved_model": Format("", ("tensorflow",), ()),
    "onnx": Format(".onnx", ("tensorflow", "torch"), ("onnx", "onnxruntime")),
    "litert": Format(".tflite", ("tensorflow",), ("ai_edge_litert",)),
    "openvino": Format(".xml", ("tensorflow",), ("openvino",)),
    "torch": Format(".pt2", ("torch",), ()),
}


def find_backend(name: str) -> str:
    """Returns the backend that writes a format.

    This is the active backend if it supports the format. Keras on PyTorch
    cannot write a SavedModel, and Keras on JAX can write little else. The stock
    model is then written by another backend.

    Args:
        name: Name of the format.

    Returns:
        Name of a Keras backend.

    Raises:
        ValueError: If the format is unknown.
        ImportError: If a package is missing.
    """
    check_known("format", name, FORMATS)
    chosen = FORMATS[name]
    backend = keras.backend.backend()
    if backend not in chosen.backends:
        backend = chosen.backends[0]
    packages = dict.fromkeys(chosen.packages, "export")
    packages[backend] = backend
    if name == "onnx" and backend == "tensorflow":
        packages["tf2onnx"] = "export"
    for package, extra in packages.items():
        if importlib.util.find_spec(package) is None:
            raise ImportError(
                f"The format {name!r} needs `{package}`. Install the extra "
                f'`{extra}`: pip install "keras-lip[{extra}]"'
            )
    return backend
