"""Progress bars of long proofs and certifications."""

import sys
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any
from typing import TypeVar

import keras

_Item = TypeVar("_Item")

Verbose = str | int


def check_verbose(verbose: Any) -> Verbose:
    """Returns `verbose`, and checks that it is `"auto"`, 0 or 1."""
    if isinstance(verbose, bool) or verbose not in ("auto", 0, 1):
        raise ValueError(
            f'`verbose` must be `"auto"`, 0 or 1. Received: verbose={verbose!r}'
        )
    found: Verbose = verbose
    return found


def track(
    items: Iterable[_Item],
    verbose: Verbose,
    unit: str,
    total: int | None = None,
) -> Iterator[_Item]:
    """Yields items, and draws how many of them are done.

    Args:
        items: Iterable.
        verbose: 1 to draw the bar of `keras.utils.Progbar`, 0 to draw nothing,
            `"auto"` to draw it in terminals and notebooks.
        unit: String. Name of an item.
        total: Number of items, or `None` if it is unknown.
    """
    if verbose == "auto":
        verbose = _is_interactive()
    if not verbose:
        yield from items
        return
    bar = keras.utils.Progbar(total, unit_name=unit)
    done = 0
    for item in items:
        yield item
        done += 1
        bar.update(done)
    if done != total:
        bar.update(done, finalize=True)


def _is_interactive() -> bool:
    is_terminal = getattr(sys.stdout, "isatty", lambda: False)()
    return is_terminal or "ipykernel" in sys.modules
