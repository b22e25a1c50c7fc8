from keras_lip.layers.activations.group_sort import GroupSort as GroupSort
from keras_lip.layers.activations.max_min import MaxMin as MaxMin
from keras_lip.layers.core.orthogonal_dense import (
    OrthogonalDense as OrthogonalDense,
)
from keras_lip.layers.core.unit_norm_dense import UnitNormDense as UnitNormDense
from keras_lip.layers.lipschitz_layer import LipschitzLayer as LipschitzLayer
from keras_lip.layers.residual.convex_potential_dense import (
    ConvexPotentialDense as ConvexPotentialDense,
)
