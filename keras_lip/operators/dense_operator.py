"""The linear map of a densely-connected layer."""

import dataclasses

from keras import ops

from keras_lip.operators.linear_operator import LinearOperator
from keras_lip.types import Tensor


@dataclasses.dataclass(frozen=True)
class DenseOperator(LinearOperator):
    """Multiplies by a kernel of shape `(input_dim, units)`, as `Dense` does."""

    def matvec(self, kernel: Tensor, inputs: Tensor) -> Tensor:
        return ops.matmul(inputs, kernel)

    def adjoint(self, kernel: Tensor, outputs: Tensor) -> Tensor:
        return ops.matmul(outputs, ops.transpose(kernel))
