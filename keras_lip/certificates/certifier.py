"""Computes the certificates of a model batch by batch."""

from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from keras_lip.bounds.common_norm import common_norm
from keras_lip.certificates.audit import audit_program
from keras_lip.certificates.audit import match_audit
from keras_lip.certificates.execution_certifier import ExecutionCertifier
from keras_lip.certificates.margins import predict_labels
from keras_lip.certificates.pair_bounds import bound_pairs
from keras_lip.certificates.real_certifier import RealCertifier
from keras_lip.certificates.reports.audit_report import AuditReport
from keras_lip.certificates.reports.check_values import SEMANTICS
from keras_lip.data import Shard
from keras_lip.data import iterate_batches
from keras_lip.graph import check_model
from keras_lip.graph import check_predict
from keras_lip.graph import has_open_sizes
from keras_lip.labels import LabelReader
from keras_lip.live_model import LiveModel
from keras_lip.program import Program
from keras_lip.program import freeze
from keras_lip.progress import Verbose
from keras_lip.types import Array
from keras_lip.types import Shape
from keras_lip.validation import check_known
from keras_lip.validation import check_number
from keras_lip.validation import check_positive_integer


class BatchCertificate(NamedTuple):
    """The predictions and radii of a batch, and its labels if given.

    Attributes:
        prediction: Integer array of shape `(num_samples,)`.
        radius: Array of shape `(num_samples,)`.
        worst_margin: Array of shape `(num_samples, 1 + num_epsilons)`. Lower
            bounds on the margin at the input itself, and within each epsilon.
        label: Integer array of shape `(num_samples,)`, or `None`.
        logits: Float64 array of shape `(num_samples, classes)`.
        margin_error: Array of shape `(num_samples,)`. Bounds on the errors of
            the margins between logits as numbers of the real-valued function.
    """

    prediction: Array
    radius: Array
    worst_margin: Array
    label: Array | None
    logits: Array
    margin_error: Array


class Certifier:
    """Certifies batches for the state of a model at construction.

    Args:
        model: A built classifier.
        norm: `"l2"`, `"linf"` or `None`, as in `audit`.
        audit: An `AuditReport` of this model, or `None` to bound it now.
        abstain_below: Non-negative float. The classifier abstains if its margin
            is smaller.
        semantics: `"real"`, `"float64"` or `"float32"`, as in `certify`.
        verbose: `"auto"`, 0 or 1, as in `certify`. Defaults to 0.

    Raises:
        ValueError: If the model has no proven bound or is not a classifier; if
            the audit is of another model, other weights or another norm; if the
            semantics are unknown, or not supported in the norm.
    """

    def __init__(
        self,
        model: keras.Model,
        norm: str | None = None,
        audit: AuditReport | None = None,
        abstain_below: float = 0.0,
        semantics: str = "real",
        verbose: Verbose = 0,
    ) -> None:
        check_model(model)
        check_known("semantics", semantics, SEMANTICS)
        self.abstain_below = check_number("abstain_below", abstain_below, 0.0)
        self.semantics = semantics
        if audit is not None:
            audit = _check_audit(audit, norm)
        self._model, self._norm, self._verbose = model, norm, verbose
        self._is_ready = False
        try:
            self._prepare(audit)
        except ValueError:
            # If input sizes are unknown, the bound may need the shape of data.
            if audit is not None or not has_open_sizes(model):
                raise

    def _prepare(
        self, audit: AuditReport | None, input_shape: Shape | None = None
    ) -> None:
        """Freezes and bounds the model for inputs of one shape."""
        check_predict(self._model)
        model, live = self._model, LiveModel(self._model)
        if audit is not None:
            input_shape = (None, *audit.input_shape)
        with live.hold():
            program = freeze(model, input_shape)
        check_precision(program)
        if audit is None:
            norm = common_norm(model, self._norm)
            self.audit = audit_program(
                program, norm, model.name, None, self._verbose
            )
        else:
            self.audit = match_audit(audit, program, model)
        # `bound_pairs` raises an error that says why there are no bounds.
        self.bounds = self.audit.pair_bounds or bound_pairs(
            program, program.bounds(self.audit.norm)
        )
        self._real = RealCertifier(program, self.bounds, live)
        self._execution: ExecutionCertifier | None = None
        if self.semantics != "real":
            if self.bounds.norm != "l2":
                raise ValueError(
                    "The floating-point execution is certified in the l2 norm. "
                    f"Received: semantics={self.semantics!r} for a model "
                    f"bounded in {self.bounds.norm}"
                )
            self._execution = ExecutionCertifier(program, self.semantics)
        self._is_ready = True

    def run(
        self,
        x: Any,
        y: Any,
        batch_size: int,
        epsilons: Sequence[float] = (),
        shard: Shard | None = None,
    ) -> Iterator[BatchCertificate]:
        """Yields the certificate of each batch of the data, or of a shard."""
        batch_size = check_positive_integer("batch_size", batch_size)
        start, read = 0, None
        for inputs, labels in iterate_batches(
            self._model, x, y, batch_size, shard
        ):
            if not self._is_ready:
                self._prepare(None, (None, *inputs.shape[1:]))
            read = read or LabelReader(len(self.bounds.matrix), y)
            labels = None if labels is None else read(labels)
            margins, radii = self._real(inputs, start)
            logits, errors = margins.logits, margins.loss[:, 0]
            start += len(inputs)
            if self._execution is not None:
                margins = self._execution(inputs)
                radii = np.zeros(len(inputs))
            if self.abstain_below == 0:
                radii = np.maximum(radii, margins.radii())
            else:
                # The radius of the class may exceed the radius of the answer.
                radii = margins.radii(self.abstain_below)
            yield BatchCertificate(
                predict_labels(margins.logits),
                radii,
                margins.worst_margins((0.0, *epsilons)),
                labels,
                logits,
                errors,
            )


def check_precision(program: Program) -> None:
    """Raises an error if a program computes in less than float32.

    Raises:
        ValueError: If a layer, an operation or an input is in less than
            float32.
    """
    for place, dtype in program.roundings:
        raise ValueError(
            "Certificates are for models that compute in float32 or float64. "
            f"{place} computes in {dtype}, whose rounding errors are not "
            "bounded. Rebuild the model under the float32 policy and load the "
            "weights."
        )


def _check_audit(audit: AuditReport, norm: str | None) -> AuditReport:
    if not isinstance(audit, AuditReport):
        raise TypeError(
            "`audit` must be an `AuditReport` of "
            f"`keras_lip.certificates.audit`. Received: {audit!r} of type "
            f"`{type(audit).__name__}`"
        )
    if norm is not None and norm != audit.norm:
        raise ValueError(
            f"The audit is in the {audit.norm} norm. Received: norm={norm!r}"
        )
    return audit
