"""Writes the notebooks of `docs/notebooks` from the scripts beside them.

    python docs/extensions/notebook_files.py

A script in jupytext's percent format is the source. Its notebook is committed
as well, without outputs, so that Jupyter and Colab can open it.
"""

import json
import pathlib

import jupytext

FOLDER = pathlib.Path(__file__).parents[1] / "notebooks"

_METADATA = {
    "kernelspec": {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}


def format_notebook(script: pathlib.Path) -> str:
    """Returns the text of the notebook of a script.

    Args:
        script: Path of a file in the percent format.

    Returns:
        String in JSON, which is always the same for the same script.
    """
    notebook = jupytext.read(script, fmt="py:percent")
    cells = []
    for number, cell in enumerate(notebook.cells):
        entry = {
            "cell_type": cell.cell_type,
            "id": f"cell-{number}",
            "metadata": {},
            "source": cell.source.splitlines(keepends=True),
        }
        if cell.cell_type == "code":
            entry |= {"execution_count": None, "outputs": []}
        cells.append(entry)
    content = {
        "cells": cells,
        "metadata": _METADATA,
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def write_notebooks() -> None:
    """Writes the notebook of each script."""
    for script in sorted(FOLDER.glob("*.py")):
        path = script.with_suffix(".ipynb")
        path.write_text(format_notebook(script), "utf-8")


if __name__ == "__main__":
    write_notebooks()
