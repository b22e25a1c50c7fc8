"""Layers with a proven bound: dense, convolutional, residual, pooling.

The documentation of every layer states its guarantee and norm. Every layer can
be frozen, bounded and converted to stock Keras layers.
"""

from keras_lip.layers.activations.absolute_value import AbsoluteValue
from keras_lip.layers.activations.beta_abs import BetaAbs
from keras_lip.layers.activations.full_sort import FullSort
from keras_lip.layers.activations.group_sort import GroupSort
from keras_lip.layers.activations.householder import Householder
from keras_lip.layers.activations.max_min import MaxMin
from keras_lip.layers.convolutional.aol_conv import AOLConv1D
from keras_lip.layers.convolutional.aol_conv import AOLConv2D
from keras_lip.layers.convolutional.aol_conv import AOLConv2DTranspose
from keras_lip.layers.convolutional.bcop_conv import BCOPConv1D
from keras_lip.layers.convolutional.bcop_conv import BCOPConv2D
from keras_lip.layers.convolutional.bcop_conv import BCOPConv2DTranspose
from keras_lip.layers.convolutional.bro_conv2d import BROConv2D
from keras_lip.layers.convolutional.cayley_conv2d import CayleyConv2D
from keras_lip.layers.convolutional.free_conv2d import FreeConv2D
from keras_lip.layers.convolutional.lot_conv2d import LOTConv2D
from keras_lip.layers.convolutional.ossn_conv2d import OSSNConv2D
from keras_lip.layers.convolutional.rko_conv import RKOConv1D
from keras_lip.layers.convolutional.rko_conv import RKOConv2D
from keras_lip.layers.convolutional.rko_conv import RKOConv2DTranspose
from keras_lip.layers.convolutional.soc_conv2d import SOCConv2D
from keras_lip.layers.convolutional.svcm_conv2d import SVCMConv2D
from keras_lip.layers.core.curvature_head import CurvatureHead
from keras_lip.layers.core.layer_stack import LayerStack
from keras_lip.layers.core.linf_dense import LinfDense
from keras_lip.layers.core.lipschitz_dense import LipschitzDense
from keras_lip.layers.core.lipschitz_scale import LipschitzScale
from keras_lip.layers.core.orthogonal_dense import OrthogonalDense
from keras_lip.layers.core.unit_norm_dense import UnitNormDense
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.merging.convex_add import ConvexAdd
from keras_lip.layers.merging.lipschitz_concatenate import LipschitzConcatenate
from keras_lip.layers.normalization.batch_centering import BatchCentering
from keras_lip.layers.normalization.layer_centering import LayerCentering
from keras_lip.layers.pooling.global_l2_norm_pooling2d import (
    GlobalL2NormPooling2D,
)
from keras_lip.layers.pooling.global_scaled_average_pooling2d import (
    GlobalScaledAveragePooling2D,
)
from keras_lip.layers.pooling.l2_norm_pooling2d import L2NormPooling2D
from keras_lip.layers.pooling.max_channel_pooling import MaxChannelPooling
from keras_lip.layers.pooling.projection_pooling import ProjectionPooling
from keras_lip.layers.pooling.scaled_average_pooling2d import (
    ScaledAveragePooling2D,
)
from keras_lip.layers.recurrent.lipschitz_rnn_cell import LipschitzRNNCell
from keras_lip.layers.registry import get
from keras_lip.layers.reshaping.invertible_downsampling2d import (
    InvertibleDownsampling2D,
)
from keras_lip.layers.reshaping.invertible_upsampling2d import (
    InvertibleUpsampling2D,
)
from keras_lip.layers.reshaping.pad_channels import PadChannels
from keras_lip.layers.reshaping.spatial_shift2d import SpatialShift2D
from keras_lip.layers.reshaping.truncate_channels import TruncateChannels
from keras_lip.layers.residual.convex_potential_conv2d import (
    ConvexPotentialConv2D,
)
from keras_lip.layers.residual.convex_potential_dense import (
    ConvexPotentialDense,
)
from keras_lip.layers.residual.convex_potential_expansion import (
    ConvexPotentialExpansion,
)
from keras_lip.layers.residual.invertible_residual import InvertibleResidual
from keras_lip.layers.residual.lip_next_block import LipNeXtBlock
from keras_lip.layers.residual.lipschitz_residual_conv2d import (
    LipschitzResidualConv2D,
)
from keras_lip.layers.residual.lipschitz_residual_dense import (
    LipschitzResidualDense,
)
from keras_lip.layers.residual.sandwich_dense import SandwichDense
from keras_lip.layers.residual.skew_flow_conv2d import SkewFlowConv2D
from keras_lip.layers.residual.skew_flow_dense import SkewFlowDense
from keras_lip.layers.residual.sll_conv2d import SLLConv2D
from keras_lip.layers.residual.sll_dense import SLLDense

__all__ = (
    "AOLConv1D",
    "AOLConv2D",
    "AOLConv2DTranspose",
    "AbsoluteValue",
    "BCOPConv1D",
    "BCOPConv2D",
    "BCOPConv2DTranspose",
    "BROConv2D",
    "BatchCentering",
    "BetaAbs",
    "CayleyConv2D",
    "ConvexAdd",
    "ConvexPotentialConv2D",
    "ConvexPotentialDense",
    "ConvexPotentialExpansion",
    "CurvatureHead",
    "FreeConv2D",
    "FullSort",
    "GlobalL2NormPooling2D",
    "GlobalScaledAveragePooling2D",
    "GroupSort",
    "Householder",
    "InvertibleDownsampling2D",
    "InvertibleResidual",
    "InvertibleUpsampling2D",
    "L2NormPooling2D",
    "LayerCentering",
    "LOTConv2D",
    "LayerStack",
    "LinfDense",
    "LipNeXtBlock",
    "LipschitzConcatenate",
    "LipschitzDense",
    "LipschitzLayer",
    "LipschitzRNNCell",
    "LipschitzResidualConv2D",
    "LipschitzResidualDense",
    "LipschitzScale",
    "MaxChannelPooling",
    "MaxMin",
    "OSSNConv2D",
    "OrthogonalDense",
    "PadChannels",
    "ProjectionPooling",
    "RKOConv1D",
    "RKOConv2D",
    "RKOConv2DTranspose",
    "SLLConv2D",
    "SLLDense",
    "SOCConv2D",
    "SVCMConv2D",
    "SandwichDense",
    "ScaledAveragePooling2D",
    "SkewFlowConv2D",
    "SkewFlowDense",
    "SpatialShift2D",
    "TruncateChannels",
    "UnitNormDense",
    "get",
)


def __dir__() -> tuple[str, ...]:
    return __all__
