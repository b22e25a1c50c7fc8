"""The norms that Lipschitz constants are known in."""

from typing import Any

from keras_lip.validation import check_known

# The Euclidean norm, and the largest magnitude of an entry.
NORMS = ("l2", "linf")


def check_norm(norm: Any) -> str:
    """Returns the name of a norm, or says which ones there are."""
    check_known("norm", norm, NORMS)
    return str(norm)
