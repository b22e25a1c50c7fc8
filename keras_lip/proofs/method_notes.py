"""By which methods a bound was proven, written down as it is computed."""

import contextlib
import contextvars
from collections.abc import Iterator

_methods: contextvars.ContextVar[dict[str, None] | None] = (
    contextvars.ContextVar("methods", default=None)
)


def note_method(method: str) -> None:
    """Writes a method down, where someone collects them."""
    methods = _methods.get()
    if methods is not None:
        methods[method] = None


@contextlib.contextmanager
def collect_methods() -> Iterator[dict[str, None]]:
    """Makes a context that collects the methods of the bounds computed in it.

    Yields:
        A dict whose keys are the methods, each once and in order.
    """
    methods: dict[str, None] = {}
    token = _methods.set(methods)
    try:
        yield methods
    finally:
        _methods.reset(token)
