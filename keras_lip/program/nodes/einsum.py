"""Products of tensors with kernels along any axes."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np

from keras_lip.program.node import SampleShape
from keras_lip.program.nodes.linear import Linear
from keras_lip.proofs.matrix_norms import row_sum_bound
from keras_lip.proofs.matrix_norms import spectral_norm_bound
from keras_lip.types import Array
from keras_lip.types import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Einsum(Linear):
    """Computes `einsum(equation, x, kernel) + bias`.

    Letters of the kernel are shared by input and output (one matrix for each
    index), summed over, or new. Every letter of the input is also in the kernel
    or the output. The constant is the largest constant of the matrices.

    Attributes:
        equation: String such as `"ab,bc->ac"`. The first letter of the input
            and of the output is the batch axis.
        bias_axes: String. Letters of the output that the bias has.
    """

    equation: str
    bias_axes: str = ""

    def _letters(self) -> tuple[str, str, str]:
        inputs, outputs = self.equation.split("->")
        source, kernel = inputs.split(",")
        return source, kernel, outputs

    def _roles(self) -> tuple[str, str, str, str]:
        """Returns the letters that are shared, summed, new, and ignored."""
        source, kernel, outputs = self._letters()
        shared = "".join(c for c in kernel if c in source and c in outputs)
        summed = "".join(c for c in kernel if c in source and c not in outputs)
        new = "".join(c for c in kernel if c not in source)
        past = "".join(c for c in source if c not in kernel)
        return shared, summed, new, past

    def is_known(self) -> bool:
        """Whether the equation is supported."""
        source, kernel, outputs = self._letters()
        _, _, new, past = self._roles()
        return (
            all(
                len(set(letters)) == len(letters) for letters in self._letters()
            )
            and set(new) <= set(outputs)
            and set(past) <= set(outputs)
            and set(outputs) <= set(source + kernel)
            and source[:1] == outputs[:1]
            and source[0] not in kernel
        )

    def _matrices(self, kernel: Array) -> Array:
        """Returns the kernel as `(shared, summed, new)`."""
        shared, summed, new, _ = self._roles()
        _, letters, _ = self._letters()
        order = [letters.index(c) for c in shared + summed + new]
        sizes = dict(zip(letters, kernel.shape, strict=True))
        return kernel.transpose(order).reshape(
            [
                math.prod(sizes[c] for c in part)
                for part in (shared, summed, new)
            ]
        )

    @property
    def offset(self) -> Array | float:
        if self.bias is None:
            return 0.0
        _, _, outputs = self._letters()
        kept = [c in self.bias_axes for c in outputs]
        sizes = iter(self.bias.shape)
        return self.bias.reshape([next(sizes) if k else 1 for k in kept])

    def matvec(self, inputs: Array, kernel: Array) -> Array:
        source, letters, outputs = self._letters()
        shared, summed, new, past = self._roles()
        sizes = dict(zip(source, inputs.shape, strict=True))
        sizes |= dict(zip(letters, kernel.shape, strict=True))
        order = [source.index(c) for c in shared + past + summed]
        matrices = self._matrices(kernel)
        rows = inputs.transpose(order).reshape(
            len(matrices), -1, matrices.shape[1]
        )
        found = shared + past + new
        product = (rows @ matrices).reshape([sizes[c] for c in found])
        return product.transpose([found.index(c) for c in outputs])

    def adjoint(self, outputs: Array, shape: tuple[int, ...]) -> Array:
        source, kernel, result = self._letters()
        back = dataclasses.replace(
            self, equation=f"{result},{kernel}->{source}", bias=None
        )
        return back.matvec(outputs, self.kernel)

    def why_unfit(self, *shapes: SampleShape) -> str | None:
        (shape,) = shapes
        source, letters, outputs = self._letters()
        if shape is None:
            return None
        if len(shape) != len(source) - 1:
            return f"samples must have {len(source) - 1} axes"
        expected = dict(zip(letters, self.kernel.shape, strict=True))
        actual = dict(zip(source[1:], shape, strict=True))
        for letter in source[1:]:
            size = expected.setdefault(letter, actual[letter])
            if size != actual[letter]:
                return (
                    f"axis '{letter}' of '{source}' must have the size {size}"
                )
        if self.bias is not None:
            axes = [letter for letter in outputs if letter in self.bias_axes]
            sizes = tuple(expected.get(letter) for letter in axes)
            if self.bias.shape != sizes:
                return f"the bias has the shape {self.bias.shape}, not {sizes}"
        return None

    @property
    def terms(self) -> int:
        return self._matrices(self.kernel).shape[1]

    @property
    def repeats(self) -> int:
        return 1

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        (shape,) = shapes
        if shape is None:
            return None
        source, letters, outputs = self._letters()
        sizes = dict(zip(source[1:], shape, strict=True))
        sizes |= dict(zip(letters, self.kernel.shape, strict=True))
        return tuple(sizes[c] for c in outputs[1:])

    def prove(self, norm: str, shape: SampleShape) -> float:
        matrices = self._matrices(self.kernel)
        if norm == "linf":
            return row_sum_bound(matrices, 1)
        return spectral_norm_bound(matrices)

    def prove_moduli(self) -> float:
        return spectral_norm_bound(np.abs(self._matrices(self.kernel)))

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        sizes = self.output_shape(tuple(inputs[0].shape[1:]))
        layer = keras.layers.EinsumDense(
            self.equation,
            sizes,
            bias_axes=self.bias_axes or None,
            dtype=dtype,
            **kwargs,
        )
        result = layer(inputs[0])
        weights = [self.kernel]
        if self.bias is not None:
            weights.append(self.bias.reshape(layer.bias.shape))
        layer.set_weights(weights)
        return result
