from keras_lip.metrics.binary_certified_accuracy import (
    BinaryCertifiedAccuracy as BinaryCertifiedAccuracy,
)
from keras_lip.metrics.certified_accuracy import (
    CertifiedAccuracy as CertifiedAccuracy,
)
from keras_lip.metrics.mean_certifiable_robustness import (
    MeanCertifiableRobustness as MeanCertifiableRobustness,
)
from keras_lip.metrics.mean_certified_radius import (
    MeanCertifiedRadius as MeanCertifiedRadius,
)
from keras_lip.metrics.registry import get as get
from keras_lip.metrics.registry import serialize as serialize
from keras_lip.metrics.tuner_objectives import register_tuner_objectives

register_tuner_objectives()
