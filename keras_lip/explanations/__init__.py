"""Explanations of predictions, which prove nothing.

`saliency_maps` differentiates logits, `fisher_information` says in which
directions of the input the probabilities change, and `information_projection`
how they change under constraints.
"""

from keras_lip.explanations.fisher_information import FisherInformation
from keras_lip.explanations.fisher_information import fisher_information
from keras_lip.explanations.information_projection import InformationProjection
from keras_lip.explanations.information_projection import information_projection
from keras_lip.explanations.saliency import Saliency
from keras_lip.explanations.saliency_maps import saliency_maps

__all__ = (
    "FisherInformation",
    "InformationProjection",
    "Saliency",
    "fisher_information",
    "information_projection",
    "saliency_maps",
)


def __dir__() -> tuple[str, ...]:
    return __all__
