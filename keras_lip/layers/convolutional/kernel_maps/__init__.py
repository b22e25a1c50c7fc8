"""Maps from trainable weights to kernels of convolutions."""

from keras_lip.layers.convolutional.kernel_maps.aol import AOL
from keras_lip.layers.convolutional.kernel_maps.bcop import BCOP
from keras_lip.layers.convolutional.kernel_maps.estimated_norm import (
    ClippedNorm,
)
from keras_lip.layers.convolutional.kernel_maps.estimated_norm import UnitNorm
from keras_lip.layers.convolutional.kernel_maps.free import Free
from keras_lip.layers.convolutional.kernel_maps.free import Residual
from keras_lip.layers.convolutional.kernel_maps.kernel_map import KernelGeometry
from keras_lip.layers.convolutional.kernel_maps.kernel_map import KernelMap
from keras_lip.layers.convolutional.kernel_maps.rko import RKO

__all__ = (
    "AOL",
    "BCOP",
    "ClippedNorm",
    "Free",
    "KernelGeometry",
    "KernelMap",
    "RKO",
    "Residual",
    "UnitNorm",
)
