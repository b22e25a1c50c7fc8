"""Figures of certificates, singular values and trades of two accuracies.

Each function draws on given Matplotlib axes, or on new ones, and returns them.
The extra `report` is required.
"""

from keras_lip.plots.certified_curves import (
    certified_curves as certified_curves,
)
from keras_lip.plots.pareto_front import pareto_front as pareto_front
from keras_lip.plots.radii_histogram import radii_histogram as radii_histogram
from keras_lip.plots.singular_values import singular_values as singular_values

__all__ = (
    "certified_curves",
    "pareto_front",
    "radii_histogram",
    "singular_values",
)


def __dir__() -> tuple[str, ...]:
    return __all__
