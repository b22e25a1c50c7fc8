"""The proven constants behind an exported model's radii."""

import keras

from keras_lip.bounds.common_norm import common_norm
from keras_lip.certificates.audit import audit_program
from keras_lip.certificates.audit import match_audit
from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.certificates.pair_bounds import bound_pairs
from keras_lip.certificates.reports.audit_report import AuditReport
from keras_lip.certificates.reports.certification_report import (
    CertificationReport,
)
from keras_lip.certificates.reports.match_report import check_model
from keras_lip.program import Program

Report = CertificationReport | AuditReport


def find_bounds(
    model: keras.Model, program: Program, report: Report | None
) -> tuple[AuditReport, PairBounds]:
    """Returns the audit of a model and the constants of its margins.

    Args:
        model: A built classifier.
        program: Its `Program`.
        report: Report of this model, or `None`. Bounds that this process has
            proven are reused, and others proven now.

    Raises:
        TypeError: If `report` is something else.
        ValueError: If the report is of another model or allows abstention, or
            the model is not a classifier with a proven bound.
    """
    if report is None:
        audit = audit_program(program, common_norm(model), model.name, None)
    else:
        audit = _read_audit(model, program, report)
    # Raises an error that says why there are no bounds of pairs.
    return audit, audit.pair_bounds or bound_pairs(
        program, program.bounds(audit.norm)
    )


def _read_audit(
    model: keras.Model, program: Program, report: Report
) -> AuditReport:
    if isinstance(report, AuditReport):
        return match_audit(report, program, model)
    check_model(report, model)
    if report.abstain_below > 0:
        raise ValueError(
            "An exported model never abstains. Certify it without "
            f"`abstain_below`. Received: abstain_below={report.abstain_below}"
        )
    # `check_model` rejects a report without one.
    assert report.audit is not None
    return match_audit(report.audit, program, model)
