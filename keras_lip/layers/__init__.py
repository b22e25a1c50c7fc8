from keras_lip.layers.activations.absolute_value import (
    AbsoluteValue as AbsoluteValue,
)
from keras_lip.layers.activations.full_sort import FullSort as FullSort
from keras_lip.layers.activations.group_sort import GroupSort as GroupSort
from keras_lip.layers.activations.householder import Householder as Householder
from keras_lip.layers.activations.max_min import MaxMin as MaxMin
from keras_lip.layers.core.lipschitz_dense import (
    LipschitzDense as LipschitzDense,
)
from keras_lip.layers.core.lipschitz_scale import (
    LipschitzScale as LipschitzScale,
)
from keras_lip.layers.core.orthogonal_dense import (
    OrthogonalDense as OrthogonalDense,
)
from keras_lip.layers.core.unit_norm_dense import UnitNormDense as UnitNormDense
from keras_lip.layers.lipschitz_layer import LipschitzLayer as LipschitzLayer
from keras_lip.layers.merging.convex_add import ConvexAdd as ConvexAdd
from keras_lip.layers.merging.lipschitz_concatenate import (
    LipschitzConcatenate as LipschitzConcatenate,
)
from keras_lip.layers.normalization.batch_centering import (
    BatchCentering as BatchCentering,
)
from keras_lip.layers.normalization.layer_centering import (
    LayerCentering as LayerCentering,
)
from keras_lip.layers.reshaping.pad_channels import PadChannels as PadChannels
from keras_lip.layers.reshaping.truncate_channels import (
    TruncateChannels as TruncateChannels,
)
from keras_lip.layers.residual.convex_potential_dense import (
    ConvexPotentialDense as ConvexPotentialDense,
)
