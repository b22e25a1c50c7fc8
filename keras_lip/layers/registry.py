"""Layers by name, including deprecated spellings."""

import sys
import warnings
from collections.abc import Mapping

import keras

from keras_lip.layers.activations.absolute_value import AbsoluteValue
from keras_lip.layers.activations.beta_abs import BetaAbs
from keras_lip.layers.activations.full_sort import FullSort
from keras_lip.layers.activations.group_sort import GroupSort
from keras_lip.layers.activations.householder import Householder
from keras_lip.layers.activations.max_min import MaxMin
from keras_lip.layers.convolutional.aol_conv import AOLConv2D
from keras_lip.layers.convolutional.bcop_conv import BCOPConv2D
from keras_lip.layers.convolutional.bro_conv2d import BROConv2D
from keras_lip.layers.convolutional.cayley_conv2d import CayleyConv2D
from keras_lip.layers.convolutional.free_conv2d import FreeConv2D
from keras_lip.layers.convolutional.lot_conv2d import LOTConv2D
from keras_lip.layers.convolutional.ossn_conv2d import OSSNConv2D
from keras_lip.layers.convolutional.rko_conv import RKOConv2D
from keras_lip.layers.convolutional.soc_conv2d import SOCConv2D
from keras_lip.layers.convolutional.svcm_conv2d import SVCMConv2D
from keras_lip.layers.core.linf_dense import LinfDense
from keras_lip.layers.core.lipschitz_dense import LipschitzDense
from keras_lip.layers.core.orthogonal_dense import OrthogonalDense
from keras_lip.layers.core.unit_norm_dense import UnitNormDense
from keras_lip.layers.residual.convex_potential_conv2d import (
    ConvexPotentialConv2D,
)
from keras_lip.layers.residual.convex_potential_dense import (
    ConvexPotentialDense,
)
from keras_lip.layers.residual.lipschitz_residual_conv2d import (
    LipschitzResidualConv2D,
)
from keras_lip.layers.residual.sandwich_dense import SandwichDense
from keras_lip.layers.residual.sll_conv2d import SLLConv2D
from keras_lip.layers.residual.sll_dense import SLLDense
from keras_lip.validation import check_known

Classes = Mapping[str, type[keras.layers.Layer]]

ACTIVATIONS: Classes = {
    "absolute_value": AbsoluteValue,
    "beta_abs": BetaAbs,
    "full_sort": FullSort,
    "group_sort": GroupSort,
    "householder": Householder,
    "max_min": MaxMin,
    "relu": keras.layers.ReLU,
}

DENSE_LAYERS: Classes = {
    "linf": LinfDense,
    "lipschitz": LipschitzDense,
    "orthogonal": OrthogonalDense,
    "sandwich": SandwichDense,
    "unit_norm": UnitNormDense,
}

CONVOLUTIONS: Classes = {
    "aol": AOLConv2D,
    "bcop": BCOPConv2D,
    "bro": BROConv2D,
    "cayley": CayleyConv2D,
    "lot": LOTConv2D,
    "ossn": OSSNConv2D,
    "rko": RKOConv2D,
    "soc": SOCConv2D,
    "svcm": SVCMConv2D,
}

# Convolutions whose norm is measured, not constrained to one. Networks with a
# guaranteed bound do not accept them.
MEASURED_CONVOLUTIONS: Classes = {
    "free": FreeConv2D,
    "lipschitz_residual": LipschitzResidualConv2D,
}

# Blocks that keep the number of channels.
RESIDUAL_BLOCKS: Classes = {
    "convex_potential": ConvexPotentialConv2D,
    "sll": SLLConv2D,
}

# The same methods for dense layers.
DENSE_RESIDUAL_BLOCKS: Classes = {
    "convex_potential": ConvexPotentialDense,
    "sll": SLLDense,
}

# Deprecated spellings.
_OLD_NAMES = {
    "absolute": "absolute_value",
    "cpl": "convex_potential",
    "groupsort": "group_sort",
    "maxmin": "max_min",
}


def get(name: str) -> type[keras.layers.Layer]:
    """Returns the class of a layer by its name.

    Args:
        name: A 2D convolution or convolutional residual block, by its method:
            `"aol"`, `"bcop"`, `"bro"`, `"cayley"`, `"convex_potential"`,
            `"lot"`, `"ossn"`, `"rko"`, `"sll"`, `"soc"` or `"svcm"`; or, if its
            norm is measured and not constrained to one, `"free"` or
            `"lipschitz_residual"`. An activation: `"absolute_value"`,
            `"beta_abs"`, `"full_sort"`, `"group_sort"`, `"householder"`,
            `"max_min"` or `"relu"`. A dense layer: `"linf"`, `"lipschitz"`,
            `"orthogonal"`, `"sandwich"` or `"unit_norm"`.

    Returns:
        The class. Convolutions take the arguments `filters` and `kernel_size`,
        dense layers take `units`, and activations need no argument.

    Raises:
        ValueError: If the name is unknown, listing the known ones.

    Example:

    >>> keras_lip.layers.get("bcop")(8, 3).filters
    8
    >>> tuple(keras_lip.layers.get("max_min")()(np.ones((2, 6))).shape)
    (2, 6)
    """
    known = {
        **CONVOLUTIONS,
        **MEASURED_CONVOLUTIONS,
        **RESIDUAL_BLOCKS,
        **ACTIVATIONS,
        **DENSE_LAYERS,
    }
    return find("layer", name, known)


def find(what: str, name: str, known: Classes) -> type[keras.layers.Layer]:
    """Looks up a class by its name.

    Args:
        what: Kind of the class, for the error message.
        name: One of the names, or a deprecated spelling.
        known: Classes by name.

    Returns:
        The class.

    Raises:
        ValueError: If the name is unknown, listing the known ones.
    """
    name = current_name(name)
    check_known(what, name, known)
    return known[name]


def current_name(name: str) -> str:
    """Returns the current spelling of a name, and warns of a deprecated one.

    Args:
        name: Any name. A name without a deprecated spelling is returned
            unchanged, even if it is unknown.
    """
    if not isinstance(name, str) or name not in _OLD_NAMES:
        return name
    current = _OLD_NAMES[name]
    warnings.warn(
        f"{name!r} is now {current!r}. The old spelling will be removed in "
        "the next release.",
        DeprecationWarning,
        stacklevel=_level_of_caller(),
    )
    return current


def _level_of_caller() -> int:
    """Returns the `stacklevel` of the first frame outside the library."""
    level, frame = 1, sys._getframe(1)
    package = __name__.partition(".")[0]
    while frame.f_back is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] != package:
            break
        level, frame = level + 1, frame.f_back
    return level
