"""Pictures of what classifiers look at. They explain, and prove nothing."""

from keras_lip.explanations.saliency import Saliency
from keras_lip.explanations.saliency_maps import saliency_maps

__all__ = ("Saliency", "saliency_maps")


def __dir__() -> tuple[str, ...]:
    return __all__
