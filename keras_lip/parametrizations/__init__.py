from keras_lip.parametrizations.aol import AOL as AOL
from keras_lip.parametrizations.bjorck import Bjorck as Bjorck
from keras_lip.parametrizations.cayley import Cayley as Cayley
from keras_lip.parametrizations.cholesky import Cholesky as Cholesky
from keras_lip.parametrizations.exponential import Exponential as Exponential
from keras_lip.parametrizations.frobenius import Frobenius as Frobenius
from keras_lip.parametrizations.parametrization import (
    Parametrization as Parametrization,
)
from keras_lip.parametrizations.qr import QR as QR
from keras_lip.parametrizations.registry import get as get
from keras_lip.parametrizations.registry import serialize as serialize
from keras_lip.parametrizations.spectral import Spectral as Spectral
