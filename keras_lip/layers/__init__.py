from keras_lip.layers.activations.absolute_value import (
    AbsoluteValue as AbsoluteValue,
)
from keras_lip.layers.activations.full_sort import FullSort as FullSort
from keras_lip.layers.activations.group_sort import GroupSort as GroupSort
from keras_lip.layers.activations.householder import Householder as Householder
from keras_lip.layers.activations.max_min import MaxMin as MaxMin
from keras_lip.layers.convolutional.aol_conv_1d import AOLConv1D as AOLConv1D
from keras_lip.layers.convolutional.aol_conv_2d import AOLConv2D as AOLConv2D
from keras_lip.layers.convolutional.aol_conv_2d_transpose import (
    AOLConv2DTranspose as AOLConv2DTranspose,
)
from keras_lip.layers.convolutional.bcop_conv_1d import BCOPConv1D as BCOPConv1D
from keras_lip.layers.convolutional.bcop_conv_2d import BCOPConv2D as BCOPConv2D
from keras_lip.layers.convolutional.bcop_conv_2d_transpose import (
    BCOPConv2DTranspose as BCOPConv2DTranspose,
)
from keras_lip.layers.convolutional.cayley_conv_2d import (
    CayleyConv2D as CayleyConv2D,
)
from keras_lip.layers.convolutional.ossn_conv_2d import OSSNConv2D as OSSNConv2D
from keras_lip.layers.convolutional.rko_conv_1d import RKOConv1D as RKOConv1D
from keras_lip.layers.convolutional.rko_conv_2d import RKOConv2D as RKOConv2D
from keras_lip.layers.convolutional.rko_conv_2d_transpose import (
    RKOConv2DTranspose as RKOConv2DTranspose,
)
from keras_lip.layers.convolutional.soc_conv_2d import SOCConv2D as SOCConv2D
from keras_lip.layers.convolutional.svcm_conv_2d import SVCMConv2D as SVCMConv2D
from keras_lip.layers.core.curvature_head import CurvatureHead as CurvatureHead
from keras_lip.layers.core.layer_stack import LayerStack as LayerStack
from keras_lip.layers.core.linf_dense import LinfDense as LinfDense
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
from keras_lip.layers.pooling.global_l2_norm_pooling_2d import (
    GlobalL2NormPooling2D as GlobalL2NormPooling2D,
)
from keras_lip.layers.pooling.global_scaled_average_pooling_2d import (
    GlobalScaledAveragePooling2D as GlobalScaledAveragePooling2D,
)
from keras_lip.layers.pooling.l2_norm_pooling_2d import (
    L2NormPooling2D as L2NormPooling2D,
)
from keras_lip.layers.pooling.max_channel_pooling import (
    MaxChannelPooling as MaxChannelPooling,
)
from keras_lip.layers.pooling.projection_pooling import (
    ProjectionPooling as ProjectionPooling,
)
from keras_lip.layers.pooling.scaled_average_pooling_2d import (
    ScaledAveragePooling2D as ScaledAveragePooling2D,
)
from keras_lip.layers.reshaping.invertible_downsampling_2d import (
    InvertibleDownsampling2D as InvertibleDownsampling2D,
)
from keras_lip.layers.reshaping.invertible_upsampling_2d import (
    InvertibleUpsampling2D as InvertibleUpsampling2D,
)
from keras_lip.layers.reshaping.pad_channels import PadChannels as PadChannels
from keras_lip.layers.reshaping.truncate_channels import (
    TruncateChannels as TruncateChannels,
)
from keras_lip.layers.residual.convex_potential_conv_2d import (
    ConvexPotentialConv2D as ConvexPotentialConv2D,
)
from keras_lip.layers.residual.convex_potential_dense import (
    ConvexPotentialDense as ConvexPotentialDense,
)
from keras_lip.layers.residual.convex_potential_expansion import (
    ConvexPotentialExpansion as ConvexPotentialExpansion,
)
from keras_lip.layers.residual.sandwich_dense import (
    SandwichDense as SandwichDense,
)
from keras_lip.layers.residual.skew_flow_conv_2d import (
    SkewFlowConv2D as SkewFlowConv2D,
)
from keras_lip.layers.residual.skew_flow_dense import (
    SkewFlowDense as SkewFlowDense,
)
from keras_lip.layers.residual.sll_conv_2d import SLLConv2D as SLLConv2D
from keras_lip.layers.residual.sll_dense import SLLDense as SLLDense
