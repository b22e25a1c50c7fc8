"""Searches for the networks that certify best."""

try:
    import keras_tuner as _keras_tuner  # noqa: F401
except ImportError as error:
    raise ImportError(
        "A search needs `keras-tuner`. Install the extra `tuning`: "
        'pip install "keras-lip[tuning]"'
    ) from error

from tuning.hyper_convex_potential_net import (
    HyperConvexPotentialNet as HyperConvexPotentialNet,
)
from tuning.hyper_lipschitz_conv_net import (
    HyperLipschitzConvNet as HyperLipschitzConvNet,
)
from tuning.hyper_lipschitz_mlp import HyperLipschitzMLP as HyperLipschitzMLP
