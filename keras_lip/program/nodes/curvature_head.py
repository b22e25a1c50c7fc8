"""Curvature heads."""

import dataclasses

from keras_lip.program.node import Node
from keras_lip.program.node import SampleShape
from keras_lip.program.nodes.composite import Composite
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.elementwise import Elementwise
from keras_lip.proofs.matrix_norms import spectral_norm_bound
from keras_lip.proofs.rounding import multiply_up
from keras_lip.types import Array


@dataclasses.dataclass(frozen=True, eq=False)
class CurvatureHead(Composite):
    """Computes `softplus(x W + b) V + c`, which is certified by its curvature.

    Attributes:
        hidden_kernel: Float64 array of shape `(input_dim, hidden_units)`.
        hidden_bias: Float64 array of shape `(hidden_units,)`.
        kernel: Float64 array of shape `(hidden_units, units)`.
        bias: Float64 array of shape `(units,)`.
    """

    norms = ("l2",)

    hidden_kernel: Array
    hidden_bias: Array
    kernel: Array
    bias: Array

    def expand(self) -> list[tuple[Node, tuple[int, ...]]]:
        return [
            (Dense(self.hidden_kernel, self.hidden_bias), (0,)),
            (Elementwise("softplus"), (1,)),
            (Dense(self.kernel, self.bias), (2,)),
        ]

    def prove(self, norm: str, shape: SampleShape) -> float:
        # The slope of softplus is at most one.
        return multiply_up(
            spectral_norm_bound(self.hidden_kernel),
            spectral_norm_bound(self.kernel),
        )
