from keras_lip.linalg.accretive_solve import accretive_solve as accretive_solve
from keras_lip.linalg.aol_rescaling import rescale_columns as rescale_columns
from keras_lip.linalg.block_convolution import (
    block_convolution as block_convolution,
)
from keras_lip.linalg.block_product import block_product as block_product
from keras_lip.linalg.complex_cayley import complex_cayley as complex_cayley
from keras_lip.linalg.correlation_moduli import (
    correlation_moduli as correlation_moduli,
)
from keras_lip.linalg.fast_exponential import (
    apply_exponential_fast as apply_exponential_fast,
)
from keras_lip.linalg.generator_factor import (
    generator_factor as generator_factor,
)
from keras_lip.linalg.kernel_phases import merge_phases as merge_phases
from keras_lip.linalg.kernel_phases import split_phases as split_phases
from keras_lip.linalg.kernel_rescaling import rescale_kernel as rescale_kernel
from keras_lip.linalg.kernel_spectrum import kernel_spectrum as kernel_spectrum
from keras_lip.linalg.matrix_exponential import (
    skew_exponential as skew_exponential,
)
from keras_lip.linalg.norm_limit import limit_norm as limit_norm
from keras_lip.linalg.operator_exponential import (
    apply_exponential as apply_exponential,
)
from keras_lip.linalg.power_iteration import power_iteration as power_iteration
from keras_lip.linalg.project_l1 import project_l1 as project_l1
from keras_lip.linalg.scale_to_one import scale_to_one as scale_to_one
from keras_lip.linalg.skew_kernel import skew_kernel as skew_kernel
from keras_lip.linalg.start_vector import start_vector as start_vector
from keras_lip.linalg.transpose import transpose as transpose
