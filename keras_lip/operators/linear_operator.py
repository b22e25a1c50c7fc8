"""The base class of linear operators."""

import abc
import math

from keras import ops

from keras_lip.types import Tensor


class LinearOperator(abc.ABC):
    """A linear map between spaces of tensors, with its adjoint.

    An operator contains constants, such as strides, but no tensors: the kernel
    is an argument of its methods. Two operators with the same arguments are
    equal, so that a loop over one is compiled only once. Subclasses are frozen
    dataclasses and implement `matvec` and `adjoint` for batches, whose first
    axis is the sample axis.
    """

    @abc.abstractmethod
    def matvec(self, kernel: Tensor, inputs: Tensor) -> Tensor:
        """Applies the operator to inputs and returns a new tensor."""

    @abc.abstractmethod
    def adjoint(self, kernel: Tensor, outputs: Tensor) -> Tensor:
        """Applies the adjoint operator, from outputs to inputs."""

    def as_matrix(self, kernel: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Returns the explicit matrix, for tests and small shapes.

        Args:
            kernel: Tensor.
            input_shape: Tuple of integers. Shape of one sample.

        Returns:
            Tensor of shape `(output_size, input_size)`.
        """
        size = math.prod(input_shape)
        basis = ops.reshape(ops.eye(size), (size, *input_shape))
        image = self.matvec(kernel, basis)
        return ops.transpose(ops.reshape(image, (size, -1)))
