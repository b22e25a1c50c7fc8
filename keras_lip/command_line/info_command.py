"""The command `info`."""

import argparse
import importlib.metadata
import pathlib
import platform
from typing import Any

import keras

from keras_lip.command_line.read_files import read_model
from keras_lip.command_line.result import Result
from keras_lip.version import __version__

# Packages that commands and extras use, by the name that pip knows.
_PACKAGES = (
    "numpy",
    "tensorflow",
    "jax",
    "torch",
    "matplotlib",
    "jinja2",
    "scikit-learn",
    "foolbox",
    "keras-tuner",
    "onnx",
    "onnxruntime",
    "tf2onnx",
    "openvino",
    "ai-edge-litert",
    "ray",
    "pyspark",
    "pyarrow",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "model",
        type=pathlib.Path,
        nargs="?",
        help="a .keras file; without one, versions are shown",
    )


def run(arguments: argparse.Namespace) -> Result:
    """Describes a model, or what is installed."""
    if arguments.model is None:
        content = _describe_installation()
        return Result(_format(content, "not installed"), content)
    content = _describe_model(read_model(arguments.model))
    layers = content.pop("layers")
    text = (
        _format(content, "unknown: the model is not built")
        + "\n"
        + _format({f"  {each['name']}": each["type"] for each in layers}, "")
    )
    return Result(text, {**content, "layers": layers})


def _describe_installation() -> dict[str, Any]:
    return {
        "keras_lip": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "python": platform.python_version(),
        **{name: _find_version(name) for name in _PACKAGES},
    }


def _describe_model(model: keras.Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "type": type(model).__name__,
        "inputs": _find_shapes(model, "inputs"),
        "outputs": _find_shapes(model, "outputs"),
        "parameters": model.count_params() if model.built else None,
        "layers": [
            {"name": layer.name, "type": type(layer).__name__}
            for layer in model.layers
        ],
    }


def _find_shapes(model: keras.Model, name: str) -> list[list[Any]] | None:
    """Returns the shapes of inputs or outputs, or `None` if nothing is known.

    A `Sequential` that is not built has neither, and a model of another class
    than Keras's need not have them.
    """
    tensors = getattr(model, name, None)
    return tensors and [
        list(each.shape) for each in keras.tree.flatten(tensors)
    ]


def _find_version(package: str) -> str | None:
    names = [package, f"{package}-cpu"]
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _format(content: dict[str, Any], unknown: str) -> str:
    width = max(map(len, content), default=0)
    return "\n".join(
        f"{name.ljust(width)}  {unknown if value is None else value}"
        for name, value in content.items()
    )
