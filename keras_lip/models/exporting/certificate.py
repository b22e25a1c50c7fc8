"""The JSON certificate of an exported model."""

import hashlib
import json
import pathlib
from typing import Any

from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.certificates.reports.audit_report import AuditReport
from keras_lip.certificates.reports.audit_report import finite_or_text
from keras_lip.certificates.reports.certification_report import (
    CertificationReport,
)

_OUTPUTS = {
    "logits": "float32, (batch, classes) or (batch, 1)",
    "label": "int32, (batch,): the first class with the largest logit; for a "
    "single logit, whether it is positive",
    "radius": "float32, (batch,): every input closer than this, in the "
    "norm, has the same label under the real-valued function; zero if nothing "
    "is known",
}

_LOGITS = (
    "At the input x, the runtime's logits z differ from the logits of the "
    "real-valued function by at most logit_tolerance * (L |x| + max |z|), "
    "where L is the lipschitz_bound and |x| the l2 norm. Twice this tolerance "
    "is subtracted from each margin."
)

_FEATURES = (
    "The runtime's features h, the inputs of the last layer, are off by at "
    "most logit_tolerance * (L |x| + |h|) in the l2 norm, where L is the "
    "trunk_bound. The sums in the last layer are off by at most "
    "logit_tolerance times the sums of the absolute values of their terms. "
    "Margins, slopes and radii account for these errors."
)

_ARITHMETIC = (
    "Radii are computed from logits in float32 arithmetic as defined by IEEE "
    "754, except that sums may be in any order, divisions and square roots may "
    "be off by two units in the last place, and subnormal numbers may be "
    "flushed to zero. Matrix products may be rounded to TF32 if "
    "logit_tolerance covers the effect on the logits. The tolerance has been "
    "checked in float32 on the CPU. 16-bit and quantized numbers are not "
    "covered."
)

_REPORT = (
    "These are the accuracies of the report that was passed to the export. The "
    "export proves the bounds, but not these accuracies."
)


def make_certificate(
    audit: AuditReport,
    bounds: PairBounds,
    report: Any,
    **export: Any,
) -> dict[str, Any]:
    """Returns the certificate of an exported model.

    Args:
        audit: The model's audit.
        bounds: Its `PairBounds`.
        report: `CertificationReport`, whose accuracies are included, or
            anything else.
        **export: Further entries that describe the export.
    """
    accuracies: dict[str, Any] | None = None
    if isinstance(report, CertificationReport):
        accuracies = {
            "note": _REPORT,
            "num_samples": len(report.radius),
            "semantics": report.semantics,
            "accuracy": report.accuracy,
            "certified_accuracy": [
                {
                    "epsilon": epsilon,
                    "accuracy": report.certified_accuracy(epsilon),
                }
                for epsilon in report.epsilons
            ],
        }
    curved = bounds.kind == "curvature"
    return {
        **export,
        "sha256": audit.sha256,
        "norm": bounds.norm,
        "lipschitz_bound": finite_or_text(bounds.lipschitz_bound),
        "trunk_bound": finite_or_text(bounds.trunk_bound),
        "basis": audit.basis,
        "method": "curvature head, the larger of closed form and margin"
        if curved
        else bounds.method,
        "outputs": _OUTPUTS,
        "runtime_assumptions": [
            _FEATURES if curved else _LOGITS,
            _ARITHMETIC,
        ],
        "report": accuracies,
        "audit": audit.to_dict(),
    }


def write_certificate(
    certificate: dict[str, Any], path: pathlib.Path, artifact: pathlib.Path
) -> None:
    """Writes a certificate, with the digests of the artifact's files.

    Args:
        certificate: The result of `make_certificate`.
        path: Where to write it.
        artifact: The artifact: a folder, or a file in its own folder.
    """
    root = artifact if artifact.is_dir() else artifact.parent
    digests = {
        file.relative_to(root).as_posix(): hashlib.sha256(
            file.read_bytes()
        ).hexdigest()
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**certificate, "files": digests}, indent=2))
