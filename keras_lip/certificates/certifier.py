"""One model's certificates, batch by batch."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from keras_lip.bounds.lipschitz_bound import output_bound
from keras_lip.certificates.audit import report_audit
from keras_lip.certificates.audit_report import AuditReport
from keras_lip.certificates.batches import iterate_batches
from keras_lip.certificates.execution import ExecutionCertifier
from keras_lip.certificates.fingerprint import fingerprint
from keras_lip.certificates.labels import to_sparse_labels
from keras_lip.certificates.margins import Margins
from keras_lip.certificates.margins import predict_labels
from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.certificates.pair_bounds import bound_pairs
from keras_lip.certificates.real_certifier import RealCertifier
from keras_lip.types import Array
from keras_lip.validation import check_known
from keras_lip.validation import check_number
from keras_lip.validation import check_positive_integer

SEMANTICS = ("real", "float64", "float32")


class BatchCertificate(NamedTuple):
    """Predictions of a batch with their radii, and the labels if given.

    Attributes:
        prediction: Integer array of shape `(num_samples,)`.
        radius: Array of shape `(num_samples,)`.
        worst_margin: Array of shape `(num_samples, 1 + num_epsilons)`: the
            least margin at the input itself, and within each epsilon.
        label: Integer array of shape `(num_samples,)`, or `None`.
    """

    prediction: Array
    radius: Array
    worst_margin: Array
    label: Array | None


class Certifier:
    """Certifies batches against the model as it stands when this is made.

    Args:
        model: A built classifier.
        norm: `"l2"`, `"linf"` or `None`, as in `audit`.
        audit: An `AuditReport` of this model, or `None` to bound it now.
        abstain_below: Float, at least zero. Margin below which no answer is
            given.
        semantics: `"real"`, `"float64"` or `"float32"`, as in `certify`.

    Raises:
        ValueError: If the model has no proven bound, or is no classifier; if
            the audit is of another model, other weights or another norm; if the
            semantics are unknown, or not known in the norm.
    """

    def __init__(
        self,
        model: keras.Model,
        norm: str | None = None,
        audit: AuditReport | None = None,
        abstain_below: float = 0.0,
        semantics: str = "real",
    ) -> None:
        check_known("semantics", semantics, SEMANTICS)
        self.abstain_below = check_number("abstain_below", abstain_below, 0.0)
        if audit is None:
            output = output_bound(model, norm)
            self.bounds = bound_pairs(output)
            self.audit = report_audit(model, output, steps=None)
        else:
            self.bounds = _reuse(audit, model, norm)
            self.audit = audit
        self.semantics = semantics
        self._certify: Callable[[Array], tuple[Margins, Array]]
        if semantics == "real":
            self._certify = RealCertifier(model, self.bounds)
        elif self.bounds.norm == "l2":
            execute = ExecutionCertifier(model, semantics)
            self._certify = lambda x: (execute(x), np.zeros(len(x)))
        else:
            raise ValueError(
                "The floating-point execution is certified in the l2 norm. "
                f"Received: semantics={semantics!r} for a model bounded in "
                f"{self.bounds.norm}"
            )

    def run(
        self,
        x: Any,
        y: Any,
        batch_size: int,
        epsilons: Sequence[float] = (),
    ) -> Iterator[BatchCertificate]:
        """Yields the certificate of each batch of the data."""
        batch_size = check_positive_integer("batch_size", batch_size)
        classes = len(self.bounds.matrix)
        for inputs, labels in iterate_batches(x, y, batch_size):
            if labels is not None:
                labels = to_sparse_labels(labels, classes)
            margins, radii = self._certify(inputs)
            if self.abstain_below == 0:
                radii = np.maximum(radii, margins.radii())
            else:
                # What holds of the class need not hold of the answer.
                radii = margins.radii(self.abstain_below)
            yield BatchCertificate(
                predict_labels(margins.logits),
                radii,
                margins.worst_margins((0.0, *epsilons)),
                labels,
            )


def _reuse(
    audit: AuditReport, model: keras.Model, norm: str | None
) -> PairBounds:
    if not isinstance(audit, AuditReport):
        raise TypeError(
            "`audit` must be what `keras_lip.certificates.audit` returns. "
            f"Received: {audit!r} of type `{type(audit).__name__}`"
        )
    found = fingerprint(model)
    if found != audit.sha256:
        raise ValueError(
            f"The audit is of another model than '{model.name}', or of other "
            f"weights: audit it again. Received: an audit of {audit.sha256}, a "
            f"model of {found}"
        )
    if norm is not None and norm != audit.norm:
        raise ValueError(
            f"The audit is in the {audit.norm} norm. Received: norm={norm!r}"
        )
    if audit.pair_bounds is None:
        # It says what is missing.
        return bound_pairs(output_bound(model, norm))
    return audit.pair_bounds
