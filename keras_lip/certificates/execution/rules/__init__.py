"""The rules for the layers and operations that executions may pass."""

from keras_lip.certificates.execution.rules import activations as activations
from keras_lip.certificates.execution.rules import arithmetic as arithmetic
from keras_lip.certificates.execution.rules import linear as linear
from keras_lip.certificates.execution.rules import selections as selections
