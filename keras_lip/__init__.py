"""1-Lipschitz neural networks in Keras 3, certified on every backend."""

import importlib
from typing import Any

# Before all other imports, so that a missing backend is explained.
import keras_lip.backend  # noqa: F401

# isort: split
from keras_lip import applications
from keras_lip import bounds
from keras_lip import callbacks
from keras_lip import certificates
from keras_lip import explanations
from keras_lip import layers
from keras_lip import linalg
from keras_lip import losses
from keras_lip import metrics
from keras_lip import models
from keras_lip import operators
from keras_lip import parametrizations
from keras_lip import plots
from keras_lip import regularizers
from keras_lip.version import __version__

__all__ = (
    "__version__",
    "applications",
    "bounds",
    "callbacks",
    "certificates",
    "explanations",
    "layers",
    "linalg",
    "losses",
    "metrics",
    "models",
    "operators",
    "parametrizations",
    "plots",
    "regularizers",
    "tuning",
)


def __dir__() -> tuple[str, ...]:
    return __all__


def __getattr__(name: str) -> Any:
    # It needs keras-tuner, an optional dependency.
    if name == "tuning":
        return importlib.import_module("keras_lip.tuning")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
