"""Reads and writes the files of a certification report."""

import importlib.util
import json
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_lip.certificates.reports.audit_report import AuditedLayer
from keras_lip.certificates.reports.audit_report import AuditReport
from keras_lip.certificates.reports.audit_report import finite_or_text
from keras_lip.certificates.reports.check_values import check_values
from keras_lip.files import check_writable
from keras_lip.files import missing_package
from keras_lip.types import Array
from keras_lip.version import __version__

# Files without a number are of format 1: JSON, without margins.
FORMAT = 2

# The arrays of a report, with one row for each sample.
ARRAYS = (
    "radius",
    "prediction",
    "label",
    "worst_margin",
    "logits",
    "margin_error",
)
_INTEGERS = ("prediction", "label")

# The packages of the extra `report` that a file needs, by its suffix.
_PACKAGES = {
    ".npz": (),
    ".json": (),
    ".html": ("jinja2", "matplotlib"),
    ".png": ("matplotlib",),
}


def check_report_path(path: pathlib.Path, overwrite: bool) -> None:
    """Raises an error if no report can be written to a path.

    Args:
        path: Path of the file.
        overwrite: Boolean. Whether an existing file may be replaced.

    Raises:
        ValueError: If the path has another suffix, already exists or cannot be
            written to.
        ImportError: If a package that writes such a file is not installed.
    """
    if path.suffix not in _PACKAGES:
        raise ValueError(
            "The path of a report must end in .npz, .json, .html or .png. "
            f"Received: {str(path)!r}"
        )
    check_writable(path, overwrite)
    for package in _PACKAGES[path.suffix]:
        if importlib.util.find_spec(package) is None:
            raise missing_package(package)


def describe_report(report: Any) -> dict[str, Any]:
    """Returns the contents of a report, except arrays, as JSON values."""
    return {
        "format": FORMAT,
        "keras_lip_version": __version__,
        "model_name": report.model_name,
        "norm": report.norm,
        "lipschitz_bound": finite_or_text(report.lipschitz_bound),
        "largest_pair_bound": finite_or_text(report.largest_pair_bound),
        "method": report.method,
        "semantics": report.semantics,
        "abstain_below": finite_or_text(report.abstain_below),
        "coverage": report.coverage,
        "global_radius": finite_or_text(report.global_radius)
        if report.semantics == "real"
        else None,
        "num_samples": len(report.radius),
        "shard": report.shard,
        "batch_sizes": report.batch_sizes,
        "batch_size": report.batch_size,
        "num_total": report.num_total,
        "accuracy": report.accuracy,
        "certified_accuracy": [
            {
                "epsilon": epsilon,
                "accuracy": report.certified_accuracy(epsilon),
            }
            for epsilon in report.epsilons
        ],
        "attacks": [
            {
                "attack": title,
                "epsilon": finite_or_text(epsilon),
                "accuracy": finite_or_text(accuracy),
            }
            for title, accuracies in report.attacks.items()
            for epsilon, accuracy in accuracies.items()
        ],
        "audit": None if report.audit is None else report.audit.to_dict(),
    }


def list_numbers(array: Array | None) -> Any:
    """Returns an array as nested lists of JSON values, or `None`."""
    if array is None:
        return None
    if np.isfinite(array).all():
        return array.tolist()
    if array.ndim > 1:
        return [list_numbers(row) for row in array]
    return [finite_or_text(value) for value in array.tolist()]


def write_arrays(report: Any, path: pathlib.Path) -> None:
    """Writes a report with all its arrays to a `.npz` file."""
    arrays = {name: getattr(report, name) for name in ARRAYS}
    np.savez(
        path,
        report=np.array(json.dumps(describe_report(report))),
        **{name: each for name, each in arrays.items() if each is not None},
    )


def read_report(path: str | pathlib.Path, make: Callable[..., Any]) -> Any:
    """Reads a file that `CertificationReport.save` wrote.

    Args:
        path: Path that ends in `.npz` or `.json`.
        make: `CertificationReport`.

    Returns:
        The report.

    Raises:
        ValueError: If the path has another suffix, or the file is not a
            complete report of a known format, or contradicts itself.
    """
    path = pathlib.Path(path)
    readers = {".npz": _read_npz, ".json": _read_json}
    if path.suffix not in readers:
        raise ValueError(
            "The path of a report to load must end in .npz or .json. "
            f"Received: {str(path)!r}"
        )
    try:
        content, arrays = readers[path.suffix](path)
        version = content.get("format", 1)
        if version in range(1, FORMAT + 1):
            values = {**_read_values(content), **_known_arrays(arrays)}
            check_values(values)
            report = make(**values)
            _compare(content, describe_report(report))
            return report
    except (
        AttributeError,
        EOFError,
        KeyError,
        OSError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
    ) as error:
        raise ValueError(
            f"The file {str(path)!r} is not a complete certification report: "
            f"{error!r}. Pass a file that `CertificationReport.save` wrote."
        ) from error
    raise ValueError(
        f"The report {str(path)!r} has a format that this version of keras_lip "
        f"does not know. Update the library. Received: format {version!r}, "
        f"expected at most {FORMAT}"
    )


def _read_npz(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, Array]]:
    # For a damaged file `np.load` would not close a path.
    with path.open("rb") as stream, np.load(stream) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(str(arrays.pop("report"))), arrays


def _read_json(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, Array]]:
    content = json.loads(path.read_text("utf-8"))
    arrays = {
        # Infinities are text.
        name: np.asarray(
            content[name], None if name in _INTEGERS else "float64"
        )
        for name in ARRAYS
        if content.get(name) is not None
    }
    return content, arrays


def _known_arrays(arrays: dict[str, Array]) -> dict[str, Array]:
    for name in arrays:
        if name not in ARRAYS:
            raise ValueError(f"it has an unknown array `{name}`")
    return arrays


def _compare(content: dict[str, Any], found: dict[str, Any]) -> None:
    """Raises an error if a file states other results than follow from it."""
    for name in ("num_samples", "coverage", "accuracy", "certified_accuracy"):
        # The first format did not contain all of them.
        if name in content and content[name] != found[name]:
            raise ValueError(
                f"`{name}` is {content[name]!r}, but {found[name]!r} follows "
                "from its arrays"
            )


def _read_values(content: dict[str, Any]) -> dict[str, Any]:
    attacks: dict[str, dict[float, float]] = {}
    for each in content["attacks"]:
        measured = attacks.setdefault(each["attack"], {})
        measured[float(each["epsilon"])] = float(each["accuracy"])
    shard, sizes = content.get("shard"), content.get("batch_sizes")
    return {
        "model_name": content["model_name"],
        "lipschitz_bound": float(content["lipschitz_bound"]),
        "method": content["method"],
        "epsilons": tuple(
            float(each["epsilon"]) for each in content["certified_accuracy"]
        ),
        "attacks": attacks,
        "norm": content["norm"],
        "semantics": content["semantics"],
        "abstain_below": float(content["abstain_below"]),
        "largest_pair_bound": float(content.get("largest_pair_bound", "inf")),
        "audit": _read_audit(content["audit"]),
        "shard": None if shard is None else tuple(shard),
        "batch_sizes": None if sizes is None else tuple(sizes),
        "batch_size": content.get("batch_size"),
        "num_total": content.get("num_total"),
    }


def _read_audit(content: dict[str, Any] | None) -> AuditReport | None:
    """Reads an audit. The constants of margins are not in a file."""
    if content is None:
        return None
    return AuditReport(
        model_name=content["model_name"],
        norm=content["norm"],
        lipschitz_bound=float(content["lipschitz_bound"]),
        layers=tuple(_read_layer(layer) for layer in content["layers"]),
        input_shape=tuple(content["input_shape"]),
        sha256=content["sha256"],
        pair_bounds=None,
    )


def _read_layer(layer: dict[str, Any]) -> AuditedLayer:
    estimate = layer["estimate"]
    return AuditedLayer(
        name=layer["name"],
        kind=layer["kind"],
        guarantee=layer["guarantee"],
        bound=float(layer["bound"]),
        method=layer["method"],
        estimate=None if estimate is None else float(estimate),
        share=float(layer["share"]),
        total=float(layer["total"]),
    )
