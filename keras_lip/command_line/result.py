"""The result of a command."""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple


class Result(NamedTuple):
    """The result of a command, to be printed in one of two forms.

    Attributes:
        text: String, for people.
        content: Dict of JSON values, for `--json`.
        write: Function that writes the result to a file, or `None`. It is
            called when the result is printed, so that it is not lost if the
            file cannot be written.
    """

    text: str
    content: dict[str, Any]
    write: Callable[[], Any] | None = None
