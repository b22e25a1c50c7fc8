"""Figures, and what they need."""

import pathlib
from typing import Any

LABEL = "certified accuracy, validation part"


def make_figure(width: float, height: float) -> Any:
    """Makes an empty figure.

    Args:
        width: Float, in inches.
        height: Float, in inches.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "This needs `matplotlib`. Install the extra `report`: "
            'pip install "keras-lip[report]"'
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: pathlib.Path) -> None:
    """Writes a figure as PNG.

    Args:
        figure: What `make_figure` returned.
        path: Path of the picture.
    """
    figure.savefig(path, format="png", dpi=130)
