"""The HTML page and the plot of a certification report."""

import base64
import io
import pathlib
from typing import Any

from keras_lip.files import missing_package
from keras_lip.version import __version__

_TEMPLATE = pathlib.Path(__file__).with_name("report.html")


def draw_curves(report: Any) -> bytes:
    """Plots certified and attacked accuracy against the radius, as PNG."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_package("matplotlib") from error
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    radii, accuracies = report.curve(400)
    axes.plot(radii, accuracies, linewidth=2, label="certified (proven)")
    for title, measured in report.attacks.items():
        points = sorted(measured.items())
        axes.plot(*zip(*points, strict=True), marker="o", label=title)
    axes.set_xlim(0, None)
    axes.set_ylim(0, 1)
    axes.set_xlabel(f"radius of the perturbation ({report.norm})")
    axes.set_ylabel("accuracy")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(alpha=0.3)
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


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
