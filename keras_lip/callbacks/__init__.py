"""Callbacks that schedule hyperparameters and log properties of a network."""

from keras_lip.callbacks.bjorck_scheduler import BjorckScheduler
from keras_lip.callbacks.epsilon_scheduler import EpsilonScheduler
from keras_lip.callbacks.lipschitz_monitor import LipschitzMonitor
from keras_lip.callbacks.loss_scheduler import LossScheduler
from keras_lip.callbacks.parseval_step import ParsevalStep
from keras_lip.callbacks.svcm_clipping import SVCMClipping

__all__ = (
    "BjorckScheduler",
    "EpsilonScheduler",
    "LipschitzMonitor",
    "LossScheduler",
    "ParsevalStep",
    "SVCMClipping",
)


def __dir__() -> tuple[str, ...]:
    return __all__
