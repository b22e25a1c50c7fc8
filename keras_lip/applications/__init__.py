from keras_lip.applications.convex_potential_net import (
    ConvexPotentialNet as ConvexPotentialNet,
)
from keras_lip.applications.dcgan_critic import DCGANCritic as DCGANCritic
from keras_lip.applications.fully_connected_3 import (
    FullyConnected3 as FullyConnected3,
)
from keras_lip.applications.large_conv_net import LargeConvNet as LargeConvNet
from keras_lip.applications.lip_conv_net import LipConvNet as LipConvNet
from keras_lip.applications.res_net_9 import ResNet9 as ResNet9
from keras_lip.applications.sll_net import SLLNet as SLLNet
from keras_lip.applications.small_conv_net import SmallConvNet as SmallConvNet
