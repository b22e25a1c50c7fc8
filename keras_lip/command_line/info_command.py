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
    "foolbox",
    "keras-tuner",
    "onnx",
    "onnxruntime",
    "openvino",
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
        return Result(_format(content), content)
    content = _describe_model(read_model(arguments.model))
    layers = content.pop("layers")
    text = (
        _format(content)
        + "\n"
        + _format({f"  {each['name']}": each["type"] for each in layers})
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
        "inputs": [list(each.shape) for each in model.inputs],
        "outputs": [list(each.shape) for each in model.outputs],
        "parameters": model.count_params(),
        "layers": [
            {"name": layer.name, "type": type(layer).__name__}
            for layer in model.layers
        ],
    }


def _find_version(package: str) -> str | None:
    names = [package, f"{package}-cpu"]
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _format(content: dict[str, Any]) -> str:
    width = max(map(len, content), default=0)
    return "\n".join(
        f"{name.ljust(width)}  {'not installed' if value is None else value}"
        for name, value in content.items()
    )
