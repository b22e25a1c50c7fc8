from keras_lip.metrics.binary_certified_accuracy import (
    BinaryCertifiedAccuracy as BinaryCertifiedAccuracy,
)
from keras_lip.metrics.certified_accuracy import (
    CertifiedAccuracy as CertifiedAccuracy,
)
