"""One value, or several by their titles."""

from collections.abc import Mapping
from typing import Any
from typing import TypeVar

_Value = TypeVar("_Value")


def by_title(
    name: str, values: Any, kind: type[_Value], title: str = ""
) -> dict[str, _Value]:
    """Returns one value or several as a dict.

    Args:
        name: Name of the argument, for the error.
        values: A value, or a dict from titles to values.
        kind: Class of the values.
        title: Title of a single value. Defaults to `""`.

    Returns:
        Dict from titles to values, with at least one.

    Raises:
        TypeError: If a value is of another class.
        ValueError: If there is none.
    """
    named = dict(values) if isinstance(values, Mapping) else {title: values}
    if not named:
        raise ValueError(f"`{name}` must not be empty. Received: {values!r}")
    for each in named.values():
        if not isinstance(each, kind):
            raise TypeError(
                f"`{name}` must be a `{kind.__name__}`, or a dict from titles "
                f"to them. Received: {each!r} of type `{type(each).__name__}`"
            )
    return named
