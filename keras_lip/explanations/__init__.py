"""Explanations of predictions, which prove nothing.

`saliency_maps` differentiates logits, and `fisher_information` says in which
directions of the input the probabilities change.
"""

from keras_lip.explanations.fisher_information import FisherInformation
from keras_lip.explanations.fisher_information import fisher_information
from keras_lip.explanations.saliency import Saliency
from keras_lip.explanations.saliency_maps import saliency_maps

__all__ = (
    "FisherInformation",
    "Saliency",
    "fisher_information",
    "saliency_maps",
)


def __dir__() -> tuple[str, ...]:
    return __all__
