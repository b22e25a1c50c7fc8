"""Room for the graphs of deep models."""

import contextlib
import sys
from collections.abc import Iterator

# Keras follows a graph from its outputs with a frame for every layer, so that
# Python's own limit of 1000 frames ends somewhat below 1000 layers.
_FRAMES = 20_000


@contextlib.contextmanager
def deep_recursion() -> Iterator[None]:
    """Makes a context in which Keras may trace models of many layers."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
