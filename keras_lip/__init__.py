"""1-Lipschitz neural networks in Keras 3, certified on every backend."""

from keras_lip import applications as applications
from keras_lip import bounds as bounds
from keras_lip import callbacks as callbacks
from keras_lip import certificates as certificates
from keras_lip import layers as layers
from keras_lip import linalg as linalg
from keras_lip import losses as losses
from keras_lip import metrics as metrics
from keras_lip import models as models
from keras_lip import operators as operators
from keras_lip import parametrizations as parametrizations
from keras_lip import regularizers as regularizers
from keras_lip.version import __version__ as __version__
