"""Shows docstrings, whose markup is Markdown, in reStructuredText."""

import inspect
import re
from typing import Any

from sphinx.util.inspect import stringify_signature

_FENCE = re.compile(r"^( *)```python\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(Example|Reference):$", re.MULTILINE)
_TABLE = re.compile(r"(?:^ *\|.*\|$\n?)+", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_NAME = re.compile(r"keras_lip(\.\w+)+")


def to_restructured_text(docstring: str) -> str:
    """Converts code, links, tables and headings of a docstring.

    Args:
        docstring: String, with Google's sections, which are left to Napoleon.

    Returns:
        String.
    """
    text = _FENCE.sub(_write_block, docstring)
    text = _HEADING.sub(r".. rubric:: \1", text)
    text = _TABLE.sub(_write_table, text)
    text = _LINK.sub(_write_link, text)
    return _CODE.sub(_write_code, text)


def _write_block(match: re.Match[str]) -> str:
    indent, code = match.groups()
    return f"{indent}.. code-block:: python\n\n" + re.sub(
        "^(?=.)", "    ", code, flags=re.MULTILINE
    )


def _write_table(match: re.Match[str]) -> str:
    lines = match[0].splitlines()
    indent = lines[0][: lines[0].index("|")]
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in lines
    ]
    written = [f"{indent}.. list-table::", f"{indent}   :header-rows: 1", ""]
    # The second line only separates the header.
    for row in (rows[0], *rows[2:]):
        marks = ["* -", *["  -"] * (len(row) - 1)]
        written += [
            f"{indent}   {mark} {cell}"
            for mark, cell in zip(marks, row, strict=True)
        ]
    return "\n".join(written) + "\n"


def _write_link(match: re.Match[str]) -> str:
    title = " ".join(match[1].split())
    return f"`{title} <{match[2]}>`__"


def _write_code(match: re.Match[str]) -> str:
    code = match[1]
    if re.search(r"<https?://", code):
        return match[0]
    if _NAME.fullmatch(code):
        return f":py:obj:`{code}`"
    return f"``{code}``"


def _convert(
    app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    lines[:] = to_restructured_text("\n".join(lines)).splitlines()


def _write_signature(
    app: Any,
    what: str,
    name: str,
    value: Any,
    options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, None] | None:
    """Returns the arguments of the constructor, which Keras hides."""
    if what != "class":
        return None
    try:
        found = inspect.signature(value)
    except ValueError:
        return None
    return stringify_signature(found, show_annotation=False), None


def setup(app: Any) -> dict[str, bool]:
    """Converts every docstring before Napoleon reads its sections."""
    app.connect("autodoc-process-docstring", _convert, priority=400)
    app.connect("autodoc-process-signature", _write_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
