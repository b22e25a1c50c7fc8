"""Readers of the operations of `keras.ops`, by exact class."""

from keras_lip.program.freezing.operations import functions as functions
from keras_lip.program.freezing.operations import joins as joins
from keras_lip.program.freezing.operations import reductions as reductions
from keras_lip.program.freezing.operations import shapes as shapes
from keras_lip.program.freezing.operations import slices as slices
from keras_lip.program.freezing.operations import (
    sums_and_products as sums_and_products,
)
