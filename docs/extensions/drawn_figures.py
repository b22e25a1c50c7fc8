"""Draws the figures of the site from the numbers in `docs/data`."""

import importlib.util
import json
import pathlib
import sys
from typing import Any

from sphinx.util import logging

_DOCS = pathlib.Path(__file__).parents[1]
# Where the function `draw(results, path)` for `docs/data/NAME.json`, and for
# `NAME_mnist.json`, may be.
_FOLDERS = (
    _DOCS.parent / "examples",
    _DOCS.parent / "experiments",
    _DOCS / "figures",
)

_logger = logging.getLogger(__name__)


def find_script(name: str) -> pathlib.Path | None:
    """Returns the script that draws the numbers of a name, if there is one."""
    script = f"{name.removesuffix('_mnist')}.py"
    paths = [folder / script for folder in _FOLDERS]
    scripts = [path for path in paths if path.exists()]
    drawing = [path for path in scripts if "def draw(" in path.read_text()]
    return drawing[0] if drawing else None


def load_script(script: pathlib.Path) -> Any:
    """Imports a script, which may import others of its folder."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    if spec is None or spec.loader is None:
        raise ImportError(f"Cannot import {script}")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(script.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(script.parent))
    return module


def draw_all(app: Any) -> None:
    """Draws the figures that are missing or older than what they show."""
    folder = _DOCS / "_figures"
    folder.mkdir(exist_ok=True)
    for data in sorted((_DOCS / "data").glob("*.json")):
        script = find_script(data.stem)
        if script is None:
            continue
        figure = folder / f"{data.stem}.png"
        changed = max(path.stat().st_mtime for path in (data, script))
        if figure.exists() and figure.stat().st_mtime > changed:
            continue
        _logger.info("drawing %s", figure.name)
        load_script(script).draw(json.loads(data.read_text("utf-8")), figure)


def setup(app: Any) -> dict[str, bool]:
    """Draws before pages are read."""
    app.connect("builder-inited", draw_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
