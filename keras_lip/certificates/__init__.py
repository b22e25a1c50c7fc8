from keras_lip.certificates.adversarials import Adversarials as Adversarials
from keras_lip.certificates.attacked_accuracy import (
    attacked_accuracy as attacked_accuracy,
)
from keras_lip.certificates.audit import audit as audit
from keras_lip.certificates.audit_report import AuditReport as AuditReport
from keras_lip.certificates.certification_report import (
    CertificationReport as CertificationReport,
)
from keras_lip.certificates.certified_radius import (
    certified_radius as certified_radius,
)
from keras_lip.certificates.certify import certify as certify
from keras_lip.certificates.falsification_summary import (
    FalsificationSummary as FalsificationSummary,
)
from keras_lip.certificates.falsified_certificate import (
    FalsifiedCertificate as FalsifiedCertificate,
)
from keras_lip.certificates.falsify import falsify as falsify
from keras_lip.certificates.find_adversarials import (
    find_adversarials as find_adversarials,
)
from keras_lip.certificates.saliency import Saliency as Saliency
from keras_lip.certificates.saliency_maps import saliency_maps as saliency_maps
