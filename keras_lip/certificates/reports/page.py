"""The HTML page and the plot of a certification report."""

import base64
import pathlib
from collections.abc import Mapping
from typing import Any

from keras_lip.figures import encode_figure
from keras_lip.figures import make_figure
from keras_lip.figures import show_percent
from keras_lip.files import missing_package
from keras_lip.version import __version__

_TEMPLATE = pathlib.Path(__file__).with_name("report.html")


def draw_curves(report: Any) -> bytes:
    """Plots certified and attacked accuracy against the radius, as PNG."""
    figure = make_figure(7, 4.5)
    plot_curves({"": report}, figure.add_subplot())
    return encode_figure(figure)


def plot_curves(reports: Mapping[str, Any], axes: Any) -> None:
    """Draws certified accuracies as lines and attacked ones as points.

    Args:
        reports: Dict from titles to `CertificationReport`. The titles are shown
            if there are several.
        axes: The `matplotlib.axes.Axes` to draw on.
    """
    for title, report in reports.items():
        start = f"{title}, " if len(reports) > 1 else ""
        radii, accuracies = report.curve(400)
        basis = "proven" if report.basis == "proven" else "if claims hold"
        (line,) = axes.plot(
            radii, accuracies, linewidth=2, label=f"{start}certified ({basis})"
        )
        for attack, measured in report.attacks.items():
            axes.plot(
                *zip(*sorted(measured.items()), strict=True),
                marker="o",
                # The points of a model have the color of its line.
                color=line.get_color() if len(reports) > 1 else None,
                linestyle="--" if len(reports) > 1 else "-",
                label=f"{start}{attack}",
            )
    norms = {report.norm: None for report in reports.values()}
    axes.set_xlim(0, None)
    axes.set_ylim(0, 1)
    axes.set_xlabel(f"radius of the perturbation ({', '.join(norms)})")
    axes.set_ylabel("accuracy")
    show_percent(axes.yaxis)
    axes.grid(alpha=0.3)
    axes.legend()


def render_page(report: Any, certified: list[tuple[float, float]]) -> str:
    """Renders the report as a self-contained HTML page."""
    try:
        import jinja2
    except ImportError as error:
        raise missing_package("jinja2") from error
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(_TEMPLATE.read_text("utf-8"))
    return template.render(
        report=report,
        certified=certified,
        curve=_encode(draw_curves(report)),
        saliency=report.saliency and _encode(report.saliency.draw()),
        version=__version__,
    )


def _encode(picture: bytes) -> str:
    return base64.b64encode(picture).decode()
