"""Proven Lipschitz constants of models, and estimates from below."""

from keras_lip.bounds.lipschitz_bound import lipschitz_bound
from keras_lip.bounds.lipschitz_lower_bound import lipschitz_lower_bound
from keras_lip.bounds.propagate_bound import propagate_bound

__all__ = (
    "lipschitz_bound",
    "lipschitz_lower_bound",
    "propagate_bound",
)


def __dir__() -> tuple[str, ...]:
    return __all__
