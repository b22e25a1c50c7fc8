"""The files of a certification report: a page and a picture."""

import base64
import io
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

from keras_lip.version import __version__

_TEMPLATE = pathlib.Path(__file__).with_name("report.html")


def write_file(
    path: pathlib.Path, make: Callable[[], bytes], overwrite: bool
) -> pathlib.Path:
    """Writes a file beside its place and moves it there when it is whole.

    Args:
        path: Where the file shall be.
        make: Function that returns its content. It is called only if the path
            can be written to.
        overwrite: Boolean. Whether an existing file may be replaced.

    Returns:
        The path.

    Raises:
        ValueError: If the path exists and may not be replaced, or cannot be
            written to.
    """
    if path.exists() and not (overwrite and path.is_file()):
        raise ValueError(
            f"There is something at {str(path)!r} already. Pass another path, "
            "or `overwrite=True` to replace a file."
        )
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=path.name
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(make())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise ValueError(
            f"The report cannot be written to {str(path)!r}: {error}. Pass a "
            "path in an existing folder that can be written to."
        ) from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.remove(temporary)
    return path


def draw_curves(report: Any) -> bytes:
    """Draws certified and attacked accuracy against the radius, as PNG."""
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
    """Renders the report as an HTML page that needs no other file."""
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


def missing_package(package: str) -> ImportError:
    """Returns the error that names the extra to install."""
    return ImportError(
        f"This needs `{package}`. Install the extra `report`: "
        'pip install "keras-lip[report]"'
    )
