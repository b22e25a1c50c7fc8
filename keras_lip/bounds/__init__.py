"""Proven Lipschitz and contraction bounds of models, and estimates."""

import warnings
from typing import Any

from keras_lip.bounds.contraction_bound import contraction_bound
from keras_lip.bounds.gradient_norms import gradient_norms
from keras_lip.bounds.jacobian_singular_values import JacobianSingularValues
from keras_lip.bounds.jacobian_singular_values import jacobian_singular_values
from keras_lip.bounds.lipschitz_bound import lipschitz_bound
from keras_lip.bounds.lipschitz_estimate import lipschitz_estimate
from keras_lip.bounds.propagate_bound import propagate_bound

__all__ = (
    "JacobianSingularValues",
    "contraction_bound",
    "gradient_norms",
    "jacobian_singular_values",
    "lipschitz_bound",
    "lipschitz_estimate",
    "propagate_bound",
)


def __dir__() -> tuple[str, ...]:
    return __all__


def __getattr__(name: str) -> Any:
    if name == "lipschitz_lower_bound":
        warnings.warn(
            "`keras_lip.bounds.lipschitz_lower_bound` is now "
            "`keras_lip.bounds.lipschitz_estimate`, because only a bound is "
            "proven. The old name will be removed in the next release.",
            DeprecationWarning,
            stacklevel=2,
        )
        return lipschitz_estimate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
