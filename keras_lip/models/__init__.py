"""Models that can be certified, and conversions from and to stock Keras."""

from keras_lip.models.clone_model import clone_model
from keras_lip.models.export import export
from keras_lip.models.fix_steps import fix_steps
from keras_lip.models.from_keras import from_keras
from keras_lip.models.importing.conversion import Conversion
from keras_lip.models.lipschitz_model import LipschitzModel
from keras_lip.models.lipschitz_sequential import LipschitzSequential
from keras_lip.models.materialize import materialize

__all__ = (
    "Conversion",
    "LipschitzModel",
    "LipschitzSequential",
    "clone_model",
    "export",
    "fix_steps",
    "from_keras",
    "materialize",
)


def __dir__() -> tuple[str, ...]:
    return __all__
