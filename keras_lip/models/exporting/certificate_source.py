"""What an exported model's radii rest on."""

import keras

from keras_lip.bounds.lipschitz_bound import output_bound
from keras_lip.certificates.audit import report_audit
from keras_lip.certificates.audit_report import AuditReport
from keras_lip.certificates.certification_report import CertificationReport
from keras_lip.certificates.fingerprint import fingerprint
from keras_lip.certificates.match_report import check_model
from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.certificates.pair_bounds import bound_pairs

Report = CertificationReport | AuditReport


def find_bounds(
    model: keras.Model, report: Report | None
) -> tuple[AuditReport, PairBounds]:
    """Returns the audit of a model, and the constants of its margins.

    Args:
        model: A built classifier.
        report: Of this model, to use its bounds again; or `None` to prove them
            now.

    Raises:
        TypeError: If `report` is something else.
        ValueError: If the report is of another model, or of one that abstains,
            or the model is no classifier with a proven bound.
    """
    if report is None:
        output = output_bound(model)
        return report_audit(model, output, None), bound_pairs(output)
    audit = _read_audit(model, report)
    if audit.pair_bounds is None:
        # It says what is missing.
        return audit, bound_pairs(output_bound(model, audit.norm))
    return audit, audit.pair_bounds


def _read_audit(model: keras.Model, report: Report) -> AuditReport:
    if isinstance(report, AuditReport):
        found = fingerprint(model)
        if found != report.sha256:
            raise ValueError(
                f"The audit is of another model than '{model.name}', or of "
                "other weights: audit it again. Received: an audit of "
                f"{report.sha256}, a model of {found}"
            )
        return report
    check_model(report, model)
    if report.abstain_below > 0:
        raise ValueError(
            "An exported model answers everywhere. Certify it without "
            f"abstention. Received: abstain_below={report.abstain_below}"
        )
    # `check_model` refuses a report without one.
    assert report.audit is not None
    return report.audit
