"""Maps from free matrices to orthogonal matrices or matrices of norm one."""

from keras_lip.parametrizations.aol import AOL
from keras_lip.parametrizations.bjorck import Bjorck
from keras_lip.parametrizations.block_reflector import BlockReflector
from keras_lip.parametrizations.cayley import Cayley
from keras_lip.parametrizations.cholesky import Cholesky
from keras_lip.parametrizations.exponential import Exponential
from keras_lip.parametrizations.frobenius import Frobenius
from keras_lip.parametrizations.parametrization import Parametrization
from keras_lip.parametrizations.qr import QR
from keras_lip.parametrizations.registry import get
from keras_lip.parametrizations.registry import get_orthogonal
from keras_lip.parametrizations.registry import serialize
from keras_lip.parametrizations.spectral import Spectral

__all__ = (
    "AOL",
    "Bjorck",
    "BlockReflector",
    "Cayley",
    "Cholesky",
    "Exponential",
    "Frobenius",
    "Parametrization",
    "QR",
    "Spectral",
    "get",
    "get_orthogonal",
    "serialize",
)


def __dir__() -> tuple[str, ...]:
    return __all__
