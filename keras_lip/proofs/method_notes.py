"""Records the methods that prove a bound while it is computed."""

import contextlib
import contextvars
from collections.abc import Iterator

# The method of a bound that is not proven but given by a user.
CLAIMED = "claimed by the user"

_methods: contextvars.ContextVar[dict[str, None] | None] = (
    contextvars.ContextVar("methods", default=None)
)


def note_method(method: str) -> None:
    """Records a method, inside a `collect_methods` context."""
    methods = _methods.get()
    if methods is not None:
        methods[method] = None


@contextlib.contextmanager
def collect_methods() -> Iterator[dict[str, None]]:
    """Returns a context that collects the methods of bounds computed in it.

    Yields:
        A dict whose keys are the methods, each once and in order.
    """
    methods: dict[str, None] = {}
    token = _methods.set(methods)
    try:
        yield methods
    finally:
        _methods.reset(token)
