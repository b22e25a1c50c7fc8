from keras_lip.callbacks.bjorck_scheduler import (
    BjorckScheduler as BjorckScheduler,
)
from keras_lip.callbacks.lipschitz_monitor import (
    LipschitzMonitor as LipschitzMonitor,
)
from keras_lip.callbacks.loss_scheduler import LossScheduler as LossScheduler
from keras_lip.callbacks.svcm_clipping import SVCMClipping as SVCMClipping
