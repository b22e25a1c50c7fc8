"""Published network architectures, ready to train or trained.

Each function returns a `LipschitzSequential` or `LipschitzModel`, untrained or
with published weights, which `list_weights` lists.
"""

from keras_lip.applications.bro_net import BRONet
from keras_lip.applications.convex_potential_net import ConvexPotentialNet
from keras_lip.applications.dcgan_critic import DCGANCritic
from keras_lip.applications.fully_connected_3 import FullyConnected3
from keras_lip.applications.hybrid_flow_net import HybridFlowNet
from keras_lip.applications.large_conv_net import LargeConvNet
from keras_lip.applications.li_res_net import LiResNet
from keras_lip.applications.lip_conv_net import LipConvNet
from keras_lip.applications.lip_next import LipNeXt
from keras_lip.applications.published_weights import PublishedWeights
from keras_lip.applications.published_weights import list_weights
from keras_lip.applications.res_net_9 import ResNet9
from keras_lip.applications.sll_net import SLLNet
from keras_lip.applications.small_conv_net import SmallConvNet
from keras_lip.applications.wide_res_net import WideResNet

__all__ = (
    "BRONet",
    "ConvexPotentialNet",
    "DCGANCritic",
    "FullyConnected3",
    "HybridFlowNet",
    "LargeConvNet",
    "LiResNet",
    "LipConvNet",
    "LipNeXt",
    "PublishedWeights",
    "ResNet9",
    "SLLNet",
    "SmallConvNet",
    "WideResNet",
    "list_weights",
)


def __dir__() -> tuple[str, ...]:
    return __all__
