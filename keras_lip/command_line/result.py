"""The result of a command."""

from typing import Any
from typing import NamedTuple


class Result(NamedTuple):
    """The result of a command, to be printed in one of two forms.

    Attributes:
        text: String, for people.
        content: Dict of JSON values, for `--json`.
    """

    text: str
    content: dict[str, Any]
