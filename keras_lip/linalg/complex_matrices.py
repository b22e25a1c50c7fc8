"""Complex matrices, as pairs of tensors.

Not every backend multiplies or solves with complex numbers when it compiles.
"""

from keras import ops

from keras_lip.linalg.transpose import transpose
from keras_lip.types import Tensor

# The real and the imaginary parts.
Complex = tuple[Tensor, Tensor]


def adjoint(matrix: Complex) -> Complex:
    """Returns the conjugate transpose of complex matrices."""
    real, imaginary = matrix
    return transpose(real), -transpose(imaginary)


def multiply(left: Complex, right: Complex) -> Complex:
    """Returns the product of complex matrices."""
    return (
        ops.matmul(left[0], right[0]) - ops.matmul(left[1], right[1]),
        ops.matmul(left[0], right[1]) + ops.matmul(left[1], right[0]),
    )
