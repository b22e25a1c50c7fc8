"""Readers of the layers of Keras, by exact class."""

from keras_lip.program.freezing.stock import functions as functions
from keras_lip.program.freezing.stock import kernel_layers as kernel_layers
from keras_lip.program.freezing.stock import merges as merges
from keras_lip.program.freezing.stock import passing as passing
from keras_lip.program.freezing.stock import poolings as poolings
from keras_lip.program.freezing.stock import scalings as scalings
from keras_lip.program.freezing.stock import shapes as shapes
