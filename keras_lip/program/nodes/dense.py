"""Products with a matrix along the last axis."""

import dataclasses
import hashlib
from typing import Any

import keras
import numpy as np

from keras_lip.program.node import SampleShape
from keras_lip.program.node import hash_value
from keras_lip.program.nodes.linear import Linear
from keras_lip.program.proof_cache import prove_once
from keras_lip.proofs.matrix_norms import row_sum_bound
from keras_lip.proofs.matrix_norms import smallest_singular_value_bound
from keras_lip.proofs.matrix_norms import spectral_norm_bound
from keras_lip.types import Array
from keras_lip.types import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Dense(Linear):
    """Computes `x @ kernel + bias`, with a kernel of shape `(inputs, outputs)`.

    The constant is the spectral norm of the kernel, and in l-infinity its
    largest absolute column sum.
    """

    def matvec(self, inputs: Array, kernel: Array) -> Array:
        return inputs @ kernel

    def adjoint(self, outputs: Array, shape: tuple[int, ...]) -> Array:
        return outputs @ self.kernel.T

    @property
    def terms(self) -> int:
        return len(self.kernel)

    @property
    def repeats(self) -> int:
        return 1

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        (shape,) = shapes
        return None if shape is None else (*shape[:-1], self.kernel.shape[1])

    def prove(self, norm: str, shape: SampleShape) -> float:
        if norm == "linf":
            return row_sum_bound(self.kernel)
        # A map and its adjoint, as in a residual block, have the same norm and
        # are views of the same numbers, which are hashed as they are stored.
        stored = self.kernel
        if not stored.flags.c_contiguous:
            stored = stored.T
        state = hashlib.sha256()
        hash_value(state, stored)
        return prove_once(
            ("spectral norm", state.hexdigest()),
            lambda: spectral_norm_bound(stored),
        )

    def prove_contraction(self, norm: str, shape: SampleShape) -> float:
        if norm != "l2":
            return 0.0
        return smallest_singular_value_bound(self.kernel.T)

    def prove_moduli(self) -> float:
        return spectral_norm_bound(np.abs(self.kernel))

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        layer = keras.layers.Dense(
            self.kernel.shape[1],
            use_bias=self.bias is not None,
            dtype=dtype,
            **kwargs,
        )
        outputs = layer(inputs[0])
        layer.set_weights(
            [each for each in (self.kernel, self.bias) if each is not None]
        )
        return outputs
