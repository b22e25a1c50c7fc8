"""Penalties that push weights towards orthogonality, without guarantees."""

from keras_lip.regularizers.parseval import Parseval

__all__ = ("Parseval",)


def __dir__() -> tuple[str, ...]:
    return __all__
