"""Checks of arguments, with helpful error messages."""

import math
import numbers
from collections.abc import Iterable
from typing import Any


def check_positive_integer(name: str, value: Any) -> int:
    """Returns `value` as an `int`, and checks that it is positive."""
    if not _is_integer(value) or value < 1:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={value!r}"
        )
    return int(value)


def check_integer(name: str, value: Any) -> int:
    """Returns `value` as an `int`, and checks that it is an integer."""
    if not _is_integer(value):
        raise ValueError(
            f"`{name}` must be an integer. Received: {name}={value!r}"
        )
    return int(value)


def check_boolean(name: str, value: Any) -> bool:
    """Returns `value`, and checks that it is `True` or `False`."""
    if not isinstance(value, bool):
        raise TypeError(
            f"`{name}` must be `True` or `False`. Received: {name}={value!r}"
        )
    return value


def check_number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
) -> float:
    """Returns `value` as a finite `float` between two limits.

    Args:
        name: Name of the argument, for the error.
        value: What was received.
        low: Smallest value allowed.
        high: Largest value allowed.
        open_low: Boolean. Whether `low` itself is excluded.

    Returns:
        Float.

    Raises:
        ValueError: If `value` is not a finite number or is outside the limits.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        above = number > low if open_low else number >= low
        if math.isfinite(number) and above and number <= high:
            return number
    limits = []
    if low > -math.inf:
        limits.append(f"{'greater than' if open_low else 'at least'} {low:g}")
    if high < math.inf:
        limits.append(f"at most {high:g}")
    wanted = " and ".join(limits)
    raise ValueError(
        f"`{name}` must be a finite number{' ' + wanted if wanted else ''}. "
        f"Received: {name}={value!r}"
    )


def check_numbers(
    name: str, values: Any, low: float = -math.inf
) -> tuple[float, ...]:
    """Returns one number, or several, as a tuple of finite floats.

    Args:
        name: Name of the argument, for the error.
        values: What was received.
        low: Smallest value allowed.

    Returns:
        Tuple of floats.

    Raises:
        ValueError: If a value is not a finite number or too small.
        TypeError: If the values are neither a number nor a sequence.
    """
    if isinstance(values, numbers.Real):
        values = (values,)
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(
            f"`{name}` must be a number or a sequence of numbers. Received: "
            f"{name}={values!r}"
        )
    listed = getattr(values, "tolist", lambda: values)()
    listed = listed if isinstance(listed, Iterable) else (listed,)
    return tuple(check_number(name, value, low) for value in listed)


def check_known(name: str, value: Any, known: Iterable[str]) -> None:
    """Raises an error that lists the known names if `value` is unknown."""
    known = sorted(known)
    if value not in known:
        listed = ", ".join(repr(choice) for choice in known)
        raise ValueError(
            f"Unknown {name}: {value!r}. The known ones are: {listed}."
        )


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
