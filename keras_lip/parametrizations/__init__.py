from keras_lip.parametrizations.bjorck import Bjorck as Bjorck
from keras_lip.parametrizations.cayley import Cayley as Cayley
from keras_lip.parametrizations.parametrization import (
    Parametrization as Parametrization,
)
from keras_lip.parametrizations.registry import get as get
from keras_lip.parametrizations.registry import serialize as serialize
