"""What depth and width do to the certified accuracy."""

import pathlib

import numpy as np

from keras_lip.figures import make_figure
from tuning.figures import LABEL
from tuning.figures import save_figure
from tuning.trial_table import Row


def plot_depth_and_width(rows: list[Row], path: pathlib.Path) -> None:
    """Draws the best certified accuracy of each depth and width.

    Args:
        rows: Rows of the trials that were completed, with what
            `tabulate_trials` says of them.
        path: Path of the picture, `.png`.
    """
    width = "filters" if "filters" in rows[0] else "units"
    depths = sorted({row["depth"] for row in rows})
    widths = sorted({row[width] for row in rows})
    best = np.full((len(depths), len(widths)), np.nan)
    for row in rows:
        cell = depths.index(row["depth"]), widths.index(row[width])
        best[cell] = np.fmax(best[cell], row["certified"])
    figure = make_figure(2.5 + len(widths), 2 + 0.7 * len(depths))
    axes = figure.add_subplot()
    image = axes.imshow(best, aspect="auto", origin="lower", cmap="viridis")
    middle = np.nanmean([np.nanmin(best), np.nanmax(best)])
    for (i, j), value in np.ndenumerate(best):
        if np.isfinite(value):
            color = "black" if value > middle else "white"
            axes.text(
                j, i, f"{value:.1%}", ha="center", va="center", color=color
            )
    axes.set_xticks(range(len(widths)), widths)
    axes.set_yticks(range(len(depths)), depths)
    axes.set_xlabel(width)
    axes.set_ylabel("depth")
    figure.colorbar(image, format=lambda value, _: f"{value:.0%}")
    axes.set_title(f"best {LABEL}", fontsize="medium")
    save_figure(figure, path)
