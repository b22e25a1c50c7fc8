"""Convolutions by the names of their methods."""

import keras

from keras_lip.layers.convolutional.aol_conv import AOLConv2D
from keras_lip.layers.convolutional.bcop_conv import BCOPConv2D
from keras_lip.layers.convolutional.cayley_conv2d import CayleyConv2D
from keras_lip.layers.convolutional.lot_conv2d import LOTConv2D
from keras_lip.layers.convolutional.ossn_conv2d import OSSNConv2D
from keras_lip.layers.convolutional.rko_conv import RKOConv2D
from keras_lip.layers.convolutional.soc_conv2d import SOCConv2D
from keras_lip.layers.convolutional.svcm_conv2d import SVCMConv2D
from keras_lip.layers.residual.convex_potential_conv2d import (
    ConvexPotentialConv2D,
)
from keras_lip.layers.residual.sll_conv2d import SLLConv2D
from keras_lip.validation import check_known

CONVOLUTIONS: dict[str, type[keras.layers.Layer]] = {
    "aol": AOLConv2D,
    "bcop": BCOPConv2D,
    "cayley": CayleyConv2D,
    "lot": LOTConv2D,
    "ossn": OSSNConv2D,
    "rko": RKOConv2D,
    "soc": SOCConv2D,
    "svcm": SVCMConv2D,
}

# They keep the number of channels.
RESIDUAL_BLOCKS: dict[str, type[keras.layers.Layer]] = {
    "cpl": ConvexPotentialConv2D,
    "sll": SLLConv2D,
}


def get(name: str) -> type[keras.layers.Layer]:
    """Retrieves a 2D convolution, or a residual block of one, by its method.

    Args:
        name: `"aol"`, `"bcop"`, `"cayley"`, `"cpl"`, `"lot"`, `"ossn"`,
            `"rko"`, `"sll"`, `"soc"` or `"svcm"`.

    Returns:
        The class, to be called with `filters` and `kernel_size`.

    Raises:
        ValueError: If the name is unknown, listing the known ones.

    Example:

    >>> keras_lip.layers.get("bcop")(8, 3).filters
    8
    """
    known = {**CONVOLUTIONS, **RESIDUAL_BLOCKS}
    check_known("convolution", name, known)
    return known[name]
