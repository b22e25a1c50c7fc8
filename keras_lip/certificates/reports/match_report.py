"""Checks that a report belongs to a model and to data."""

import keras
import numpy as np

from keras_lip.certificates.margins import predict_labels
from keras_lip.certificates.reports.certification_report import (
    CertificationReport,
)
from keras_lip.labels import to_sparse_labels
from keras_lip.program import Program
from keras_lip.program import freeze
from keras_lip.proofs.norms import check_norm
from keras_lip.types import Array


def check_model(report: CertificationReport, model: keras.Model) -> Program:
    """Freezes a model, and raises an error if the report is of another one."""
    if not isinstance(report, CertificationReport):
        raise TypeError(
            "`report` must be a report of `keras_lip.certificates.certify`. "
            f"Received: {report!r} of type `{type(report).__name__}`"
        )
    check_norm(report.norm)
    if report.audit is None:
        raise ValueError(
            "The report contains no audit of its model. Pass a report that "
            "`keras_lip.certificates.certify` returned. Received: audit=None"
        )
    program = freeze(model, (None, *report.audit.input_shape))
    if program.digest != report.audit.sha256:
        raise ValueError(
            f"The report is of another model than '{model.name}', or of other "
            "weights: certify it again. Received: a report of "
            f"{report.audit.sha256}, a model of {program.digest}"
        )
    return program


def check_data(
    report: CertificationReport,
    part: slice,
    logits: Array,
    labels: Array | None,
) -> None:
    """Raises an error if data do not belong to a report.

    Args:
        report: The report.
        part: The samples of the report to check.
        logits: Array of shape `(num_samples, classes)`. Outputs of the model.
        labels: Array of their labels, or `None`.

    Raises:
        ValueError: If there are more samples than in the report, or a label or
            a certified prediction differs.
    """
    if part.stop > len(report.radius):
        raise _other_data(report, f"{part.stop} samples or more")
    if labels is not None:
        labels = to_sparse_labels(labels, logits.shape[1])
        _check_same(report, part, labels != report.label[part], "label")
    differ = predict_labels(logits) != report.prediction[part]
    certified = report.radius[part] > 0
    _check_same(report, part, differ & certified, "prediction")


def check_length(report: CertificationReport, number: int) -> None:
    """Raises an error if data and report differ in their number of samples."""
    if number != len(report.radius):
        raise _other_data(report, f"{number} samples")


def _check_same(
    report: CertificationReport, part: slice, differ: Array, what: str
) -> None:
    if np.any(differ):
        index = part.start + int(np.argmax(differ))
        raise _other_data(report, f"another {what} of sample {index}")


def _other_data(report: CertificationReport, received: str) -> ValueError:
    return ValueError(
        f"The report is of {len(report.radius)} samples, and `x` and `y` must "
        f"be the same samples in the same order. Received: {received}"
    )
