"""Frozen programs: what a model computes, read once and held as numbers.

`freeze` reads a model into a `Program`, which computes, bounds, encloses and
writes itself down without looking at the model again.
"""

from keras_lip.program.freezing.freeze import freeze as freeze
from keras_lip.program.freezing.freeze import freeze_layer as freeze_layer
from keras_lip.program.program import Program as Program

__all__ = ["Program", "freeze", "freeze_layer"]
