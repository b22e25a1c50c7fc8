"""Saliency maps of classifiers. They explain predictions, but prove nothing."""

from keras_lip.explanations.saliency import Saliency
from keras_lip.explanations.saliency_maps import saliency_maps

__all__ = ("Saliency", "saliency_maps")


def __dir__() -> tuple[str, ...]:
    return __all__
