"""Families of networks for hyperparameter search with keras-tuner.

Each family is a `keras_tuner.HyperModel`. The extra `tuning` is required.
"""

try:
    import keras_tuner as _keras_tuner  # noqa: F401
except ImportError as error:
    raise ImportError(
        "A search needs `keras-tuner`. Install the extra `tuning`: "
        'pip install "keras-lip[tuning]"'
    ) from error

from keras_lip.tuning.hyper_convex_potential_net import HyperConvexPotentialNet
from keras_lip.tuning.hyper_lipschitz_conv_net import HyperLipschitzConvNet
from keras_lip.tuning.hyper_lipschitz_mlp import HyperLipschitzMLP

__all__ = (
    "HyperConvexPotentialNet",
    "HyperLipschitzConvNet",
    "HyperLipschitzMLP",
)


def __dir__() -> tuple[str, ...]:
    return __all__
