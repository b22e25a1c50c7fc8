"""Saliency maps of classifiers, and their plots."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from keras_lip.figures import encode_figure
from keras_lip.figures import to_images
from keras_lip.files import missing_package
from keras_lip.files import write_file
from keras_lip.types import Array

# Sizes in inches: one input, the labels beside it, and the titles above it.
_CELL = 0.95
_MARGIN = 1.1
_TITLES = 0.35

# The gap between two inputs, relative to the height of a row.
_GAP = 0.12


@dataclasses.dataclass(frozen=True)
class Saliency:
    """Input gradients of the logits of one or two classifiers.

    `keras_lip.explanations.saliency_maps` returns it.

    Attributes:
        titles: Tuple of the names of the models.
        classes: Tuple of the classes whose logits were differentiated.
        inputs: Array of shape `(num_samples, *input_shape)`, float64.
        gradients: Array of shape
            `(num_models, num_samples, num_classes, *input_shape)`, float64.
        prediction: Integer array of shape `(num_models, num_samples)`.
    """

    titles: tuple[str, ...]
    classes: tuple[int, ...]
    inputs: Array
    gradients: Array
    prediction: Array

    def draw(self) -> bytes:
        """Plots inputs and gradients side by side, as PNG.

        Returns:
            The bytes of the picture. For color images it shows gradients summed
            over the channels.

        Raises:
            ValueError: If inputs are not channels-last images of one or three
                channels.
            ImportError: If the extra `report` is not installed.
        """
        return draw_saliency(self)

    def save(
        self, path: str | pathlib.Path, overwrite: bool = False
    ) -> pathlib.Path:
        """Writes the picture to a file, completely or not at all.

        Args:
            path: Path that ends in `.png`.
            overwrite: Boolean. Whether an existing file may be replaced.

        Returns:
            The path written.

        Raises:
            ValueError: If the path has another suffix, already exists or cannot
                be written to, or inputs are not images.
            ImportError: If the extra `report` is not installed.
        """
        path = pathlib.Path(path)
        if path.suffix != ".png":
            raise ValueError(
                "The path of a picture must end in .png. Received: "
                f"{str(path)!r}"
            )
        return write_file(path, self.draw, overwrite)


def draw_saliency(saliency: Any) -> bytes:
    """Plots each input, and beside it the gradients of every class.

    Args:
        saliency: A `keras_lip.explanations.saliency.Saliency`.

    Returns:
        The bytes of a PNG file.

    Raises:
        ValueError: If inputs are not images.
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise missing_package("matplotlib") from error
    images = to_images(saliency.inputs)
    models, samples, classes = saliency.gradients.shape[:3]
    columns = 1 + classes
    # One row for each model, and a gap below each input.
    heights = ([1.0] * models + [_GAP]) * samples
    figure = Figure(
        figsize=(_CELL * columns + _MARGIN, _CELL * sum(heights) + _TITLES),
        layout=ConstrainedLayoutEngine(
            w_pad=0.02, h_pad=0.02, wspace=0, hspace=0
        ),
    )
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    for sample in range(samples):
        first = sample * (models + 1)
        # The input is shown once, beside the gradients of all models.
        axes = _add_axes(figure, grid[first : first + models, 0])
        axes.imshow(images[sample], cmap="gray", interpolation="nearest")
        if sample == 0:
            axes.set_title("input", fontsize=9)
        for model in range(models):
            row = [
                _add_axes(figure, grid[first + model, 1 + index])
                for index in range(classes)
            ]
            _draw_row(row, saliency, model, sample)
            if first + model == 0:
                for axes, name in zip(row, saliency.classes, strict=True):
                    axes.set_title(f"class {name}", fontsize=9)
    return encode_figure(figure)


def _draw_row(axes: list[Any], saliency: Any, model: int, sample: int) -> None:
    """Plots the gradients of one model at one input, on a common scale."""
    gradients = saliency.gradients[model, sample]
    maps = gradients.reshape(*gradients.shape[:3], -1).sum(axis=-1)
    largest = max(float(np.abs(maps).max()), 1e-300)
    answer = int(saliency.prediction[model, sample])
    for each, values, name in zip(axes, maps, saliency.classes, strict=True):
        each.imshow(
            values / largest,
            cmap="RdBu_r",
            vmin=-1,
            vmax=1,
            interpolation="nearest",
        )
        if name == answer:
            for spine in each.spines.values():
                spine.set(visible=True, color="black", linewidth=2)
    norms = np.linalg.norm(gradients.reshape(len(gradients), -1), axis=1)
    axes[-1].yaxis.set_label_position("right")
    axes[-1].set_ylabel(
        f"{saliency.titles[model]}\nnorm {norms.max():.3g}",
        fontsize=9,
        rotation=0,
        horizontalalignment="left",
        verticalalignment="center",
        labelpad=6,
    )


def _add_axes(figure: Any, cell: Any) -> Any:
    axes = figure.add_subplot(cell)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color="#d8dee4", linewidth=0.8)
    return axes
