"""Linear operators with adjoints: dense, convolutional and Fourier."""

from keras_lip.operators.convolution_operator import ConvolutionOperator
from keras_lip.operators.convolution_operator import adjoint_kernel
from keras_lip.operators.dense_operator import DenseOperator
from keras_lip.operators.fourier_operator import FourierOperator
from keras_lip.operators.linear_operator import LinearOperator
from keras_lip.operators.padding import crop_images
from keras_lip.operators.padding import pad_circular
from keras_lip.operators.padding import pad_zeros

__all__ = (
    "ConvolutionOperator",
    "DenseOperator",
    "FourierOperator",
    "LinearOperator",
    "adjoint_kernel",
    "crop_images",
    "pad_circular",
    "pad_zeros",
)


def __dir__() -> tuple[str, ...]:
    return __all__
