"""The families of networks of the search command, by name."""

from collections.abc import Sequence

from keras_lip.tuning.base_hyper_model import BaseHyperModel
from keras_lip.tuning.hyper_convex_potential_net import HyperConvexPotentialNet
from keras_lip.tuning.hyper_lipschitz_conv_net import HyperLipschitzConvNet
from keras_lip.tuning.hyper_lipschitz_mlp import HyperLipschitzMLP
from keras_lip.validation import check_known

MODELS: dict[str, type[BaseHyperModel]] = {
    "mlp": HyperLipschitzMLP,
    "convnet": HyperLipschitzConvNet,
    "convex_potential": HyperConvexPotentialNet,
}


def make_hyper_model(
    model: str, input_shape: Sequence[int], classes: int, epsilon: float
) -> BaseHyperModel:
    """Makes a family of networks by its name.

    Args:
        model: One of `MODELS`.
        input_shape: Tuple. Shape of one image, channels last.
        classes: Integer of at least two.
        epsilon: Positive float. Radius of the certified accuracy.

    Returns:
        A `BaseHyperModel`.

    Raises:
        ValueError: If the name is unknown.
    """
    check_known("model", model, MODELS)
    return MODELS[model](input_shape, classes, epsilon)
