"""Frozen programs: the operations of a model at inference, as numbers.

`freeze` reads a model into a `Program`. The program can be run, bounded,
enclosed and converted to stock Keras without reading the model again.
"""

from keras_lip.program.freezing.freeze import freeze as freeze
from keras_lip.program.freezing.freeze import freeze_layer as freeze_layer
from keras_lip.program.program import Program as Program

__all__ = ["Program", "freeze", "freeze_layer"]
