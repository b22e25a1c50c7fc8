"""Proofs of robustness, and attacks that test them.

`certify` proves a radius for every input, `audit` lists the proven bound of
every layer, and `falsify` attacks a certification.
"""

import warnings
from typing import Any

from keras_lip.certificates.attacks.attacked_accuracy import attacked_accuracy
from keras_lip.certificates.attacks.falsified_certificate import (
    FalsifiedCertificate,
)
from keras_lip.certificates.attacks.falsify import FalsificationSummary
from keras_lip.certificates.attacks.falsify import falsify
from keras_lip.certificates.attacks.find_adversarials import Adversarials
from keras_lip.certificates.attacks.find_adversarials import find_adversarials
from keras_lip.certificates.audit import audit
from keras_lip.certificates.certified_auroc import certified_auroc
from keras_lip.certificates.certified_radius import certified_radius
from keras_lip.certificates.certify import certify
from keras_lip.certificates.fisher_rao_distance import fisher_rao_distance
from keras_lip.certificates.reports.audit_report import AuditReport
from keras_lip.certificates.reports.certification_report import (
    CertificationReport,
)
from keras_lip.certificates.reports.wasserstein_report import WassersteinReport
from keras_lip.certificates.wasserstein_lower_bound import (
    wasserstein_lower_bound,
)

__all__ = (
    "Adversarials",
    "AuditReport",
    "CertificationReport",
    "FalsificationSummary",
    "FalsifiedCertificate",
    "WassersteinReport",
    "attacked_accuracy",
    "audit",
    "certified_auroc",
    "certified_radius",
    "certify",
    "falsify",
    "find_adversarials",
    "fisher_rao_distance",
    "wasserstein_lower_bound",
)


def __dir__() -> tuple[str, ...]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in ("Saliency", "saliency_maps"):
        from keras_lip import explanations

        warnings.warn(
            f"`keras_lip.certificates.{name}` is now "
            f"`keras_lip.explanations.{name}`. The old name will be removed "
            "in the next release.",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(explanations, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
