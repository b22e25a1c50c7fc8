"""Renders formulas as MathML, which browsers show without a script."""

from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml


def _convert(node: Any, block: bool) -> str:
    return latex2mathml.tex2mathml(node.astext(), as_block=block)


def _visit_inline(translator: Any, node: Any) -> None:
    translator.body.append(_convert(node, False))
    raise nodes.SkipNode


def _visit_block(translator: Any, node: Any) -> None:
    translator.body.append(_convert(node, True))
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Registers the renderer."""
    app.add_html_math_renderer(
        "mathml", (_visit_inline, None), (_visit_block, None)
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
