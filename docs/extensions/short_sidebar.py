"""Lists in the sidebar of a page only what is near it.

Furo lists every page on every page, and collapses the list in the browser. With
a page for every name of the library, that is most of the time of a build and
most of the size of a page.
"""

from typing import Any


def _collapse(
    app: Any,
    page: str,
    template: str,
    context: dict[str, Any],
    doctree: Any,
) -> None:
    """Lists the branch of the page, and of other branches only the first."""
    list_pages = context.get("toctree")
    if list_pages is not None:
        context["toctree"] = lambda **options: list_pages(
            **{**options, "collapse": True}
        )


def setup(app: Any) -> dict[str, bool]:
    """Collapses before Furo asks for the list."""
    app.connect("html-page-context", _collapse, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
