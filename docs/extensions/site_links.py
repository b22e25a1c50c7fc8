"""Lets links between files of the repository lead to pages of the site."""

import pathlib
import re
from typing import Any

_DOCS = pathlib.Path(__file__).parents[1]
_ROOT = _DOCS.parent

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
_PAGES = {
    "CHANGELOG.md": "/generated/changelog.md",
    "CONTRIBUTING.md": "/generated/contributing.md",
    "README.md": "/index.md",
    "RESULTS.md": "/generated/results.md",
    "benchmarks/results": "/benchmarks.md",
    "tuning/README.md": "/guides/tune.md",
}


def rewrite_links(text: str, folder: pathlib.Path) -> str:
    """Rewrites links to files of the repository.

    A link to a file that is no page of the site is replaced by its text.

    Args:
        text: String in Markdown.
        folder: Path of the folder that links are relative to.

    Returns:
        String.
    """

    def rewrite(match: re.Match[str]) -> str:
        title, target, anchor = match.groups()
        path = (folder / target).resolve()
        if not path.exists():
            # A page that is generated, or code such as `layers[0](inputs)`.
            return match[0]
        page = _find_page(path)
        return title if page is None else f"[{title}]({page}{anchor or ''})"

    return _LINK.sub(rewrite, text)


def _find_page(path: pathlib.Path) -> str | None:
    if not path.is_relative_to(_ROOT):
        return None
    name = path.relative_to(_ROOT).as_posix()
    if name in _PAGES:
        return _PAGES[name]
    if path.parent == _ROOT / "benchmarks" / "results":
        return f"/generated/benchmarks/{path.name}"
    if path.is_relative_to(_DOCS):
        return f"/{path.relative_to(_DOCS).as_posix()}"
    return None


def _read(app: Any, docname: str, source: list[str]) -> None:
    folder = (_DOCS / docname).parent
    if not docname.startswith("generated/"):
        source[0] = rewrite_links(source[0], folder)


def setup(app: Any) -> dict[str, bool]:
    """Rewrites links when a page is read."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
