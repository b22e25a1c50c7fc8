"""Linear algebra on tensors of all backends, used by the layers."""

from keras_lip.linalg.aol import correlation_moduli
from keras_lip.linalg.aol import rescale_columns
from keras_lip.linalg.aol import rescale_kernel
from keras_lip.linalg.bjorck_step import bjorck_step
from keras_lip.linalg.block_convolution import block_convolution
from keras_lip.linalg.block_convolution import block_product
from keras_lip.linalg.complex_matrices import complex_cayley
from keras_lip.linalg.complex_matrices import complex_polar
from keras_lip.linalg.complex_matrices import complex_reflector
from keras_lip.linalg.complex_matrices import generator_factor
from keras_lip.linalg.exponentials import apply_exponential
from keras_lip.linalg.exponentials import apply_exponential_fast
from keras_lip.linalg.exponentials import skew_exponential
from keras_lip.linalg.exponentials import skew_kernel
from keras_lip.linalg.kernel_phases import merge_phases
from keras_lip.linalg.kernel_phases import split_phases
from keras_lip.linalg.kernel_spectrum import kernel_spectrum
from keras_lip.linalg.matrices import accretive_solve
from keras_lip.linalg.matrices import transpose
from keras_lip.linalg.orthonormal_basis import orthonormal_basis
from keras_lip.linalg.pair_distances import pair_distances
from keras_lip.linalg.power_iteration import power_iteration
from keras_lip.linalg.power_iteration import start_vector
from keras_lip.linalg.rescaling import limit_norm
from keras_lip.linalg.rescaling import project_l1
from keras_lip.linalg.rescaling import scale_to_one

__all__ = (
    "accretive_solve",
    "apply_exponential",
    "apply_exponential_fast",
    "bjorck_step",
    "block_convolution",
    "block_product",
    "complex_cayley",
    "complex_polar",
    "complex_reflector",
    "correlation_moduli",
    "generator_factor",
    "kernel_spectrum",
    "limit_norm",
    "merge_phases",
    "orthonormal_basis",
    "pair_distances",
    "power_iteration",
    "project_l1",
    "rescale_columns",
    "rescale_kernel",
    "scale_to_one",
    "skew_exponential",
    "skew_kernel",
    "split_phases",
    "start_vector",
    "transpose",
)


def __dir__() -> tuple[str, ...]:
    return __all__
