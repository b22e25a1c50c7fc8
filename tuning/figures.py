"""Figures, and what they need."""

import pathlib
from typing import Any

LABEL = "certified accuracy, validation part"


def save_figure(figure: Any, path: pathlib.Path) -> None:
    """Writes a figure as PNG.

    Args:
        figure: What `make_figure` returned.
        path: Path of the picture.
    """
    figure.savefig(path, format="png", dpi=130)
