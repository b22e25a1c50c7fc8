"""The norms in which Lipschitz constants are known."""

from typing import Any

from keras_lip.validation import check_known

# The Euclidean norm, and the largest absolute value of an entry.
NORMS = ("l2", "linf")


def check_norm(norm: Any) -> str:
    """Returns the name of a norm, or raises if it is unknown."""
    check_known("norm", norm, NORMS)
    return str(norm)
