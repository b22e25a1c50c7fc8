"""The rules for the layers and operations that ship with Keras."""

from keras_lip.bounds.rules import activations as activations
from keras_lip.bounds.rules import convolutional as convolutional
from keras_lip.bounds.rules import core as core
from keras_lip.bounds.rules import merging as merging
from keras_lip.bounds.rules import normalization as normalization
from keras_lip.bounds.rules import operations as operations
from keras_lip.bounds.rules import pooling as pooling
from keras_lip.bounds.rules import reshaping as reshaping
