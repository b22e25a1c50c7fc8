"""What stands beside an exported model: what its radii rest on, as JSON."""

import hashlib
import json
import pathlib
from typing import Any

from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.certificates.reports.audit_report import AuditReport
from keras_lip.certificates.reports.certification_report import (
    CertificationReport,
)

_OUTPUTS = {
    "logits": "float32, (batch, classes) or (batch, 1)",
    "label": "int32, (batch,): the first class of the largest logit; of a "
    "single logit, whether it is positive",
    "radius": "float32, (batch,): every input of the real-valued function that "
    "is closer than this, in the norm, has that label; zero where nothing is "
    "known",
}

_LOGITS = (
    "The runtime's logits z are off from those of the real-valued function, at "
    "the input x, by at most logit_tolerance * (L |x| + max |z|), with L the "
    "lipschitz_bound and the l2 norm of x. Twice that is taken off each margin."
)

_FEATURES = (
    "The runtime's features h, which the last layer receives, are off by at "
    "most logit_tolerance * (L |x| + |h|) in the l2 norm, with L the "
    "trunk_bound; and the sums of the last layer by logit_tolerance times the "
    "sums of the magnitudes that go into them. All of it is taken off."
)

_ARITHMETIC = (
    "Radii are computed from logits in float32 as IEEE 754 says, up to the "
    "order of sums, to divisions and roots that are off by two units in the "
    "last place, and to subnormal numbers. Matrix products may be rounded to "
    "TF32 as far as logit_tolerance covers what that does to logits, which has "
    "been checked in float32 on the processor. Numbers of 16 bits, and "
    "quantized ones, are not covered."
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
        report: `CertificationReport`, the accuracies of which are included; or
            anything else.
        **export: Further entries, of how it has been exported.
    """
    accuracies: dict[str, Any] | None = None
    if isinstance(report, CertificationReport):
        accuracies = {
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
        "lipschitz_bound": bounds.lipschitz_bound,
        "trunk_bound": bounds.trunk_bound,
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
    """Writes a certificate, with the digests of the files that it is of.

    Args:
        certificate: What `make_certificate` returns.
        path: Where to write it.
        artifact: The artifact: a folder, or a file in a folder of its own.
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
