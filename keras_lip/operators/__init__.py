from keras_lip.operators.circular_padding import crop_images as crop_images
from keras_lip.operators.circular_padding import pad_circular as pad_circular
from keras_lip.operators.convolution_operator import (
    ConvolutionOperator as ConvolutionOperator,
)
from keras_lip.operators.convolution_operator import (
    adjoint_kernel as adjoint_kernel,
)
from keras_lip.operators.dense_operator import DenseOperator as DenseOperator
from keras_lip.operators.fourier_operator import (
    FourierOperator as FourierOperator,
)
from keras_lip.operators.linear_operator import LinearOperator as LinearOperator
from keras_lip.operators.zero_padding import pad_zeros as pad_zeros
