from keras_lip.linalg.aol_rescaling import rescale_columns as rescale_columns
from keras_lip.linalg.matrix_exponential import (
    skew_exponential as skew_exponential,
)
from keras_lip.linalg.power_iteration import power_iteration as power_iteration
from keras_lip.linalg.scale_to_one import scale_to_one as scale_to_one
from keras_lip.linalg.transpose import transpose as transpose
