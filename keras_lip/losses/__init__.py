"""Losses for Lipschitz networks: hinge, HKR, crossentropies, certified ones."""

from keras_lip.losses.certificate_regularization import (
    CertificateRegularization,
)
from keras_lip.losses.curvature_crossentropy import CurvatureCrossentropy
from keras_lip.losses.emma import EMMA
from keras_lip.losses.gloro import GloRo
from keras_lip.losses.hinge_margin import HingeMargin
from keras_lip.losses.hkr import HKR
from keras_lip.losses.kantorovich_rubinstein import KantorovichRubinstein
from keras_lip.losses.logit_annealing import LogitAnnealing
from keras_lip.losses.multiclass_hinge import MulticlassHinge
from keras_lip.losses.multiclass_hkr import MulticlassHKR
from keras_lip.losses.multiclass_soft_hkr import MulticlassSoftHKR
from keras_lip.losses.multilabel_hkr import MultilabelHKR
from keras_lip.losses.offset_crossentropy import OffsetCrossentropy
from keras_lip.losses.registry import get
from keras_lip.losses.registry import serialize
from keras_lip.losses.temperature_binary_crossentropy import (
    TemperatureBinaryCrossentropy,
)
from keras_lip.losses.temperature_categorical_crossentropy import (
    TemperatureCategoricalCrossentropy,
)
from keras_lip.losses.temperature_sparse_categorical_crossentropy import (
    TemperatureSparseCategoricalCrossentropy,
)

__all__ = (
    "CertificateRegularization",
    "CurvatureCrossentropy",
    "EMMA",
    "GloRo",
    "HKR",
    "HingeMargin",
    "KantorovichRubinstein",
    "LogitAnnealing",
    "MulticlassHKR",
    "MulticlassHinge",
    "MulticlassSoftHKR",
    "MultilabelHKR",
    "OffsetCrossentropy",
    "TemperatureBinaryCrossentropy",
    "TemperatureCategoricalCrossentropy",
    "TemperatureSparseCategoricalCrossentropy",
    "get",
    "serialize",
)


def __dir__() -> tuple[str, ...]:
    return __all__
