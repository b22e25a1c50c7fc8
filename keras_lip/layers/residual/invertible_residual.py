"""Residual layer with a proven inverse."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.layers.core.stacked_blocks import estimate_part
from keras_lip.layers.core.stacked_blocks import find_common_norms
from keras_lip.layers.core.stacked_blocks import list_layers
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.lipschitz_layer import fix_entry
from keras_lip.program import Program
from keras_lip.program import freeze_layer
from keras_lip.program import upward
from keras_lip.program.builder import Wire
from keras_lip.program.contracting import bound_contraction
from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import start_enclosure
from keras_lip.program.freezing.checks import check_same_shapes
from keras_lip.program.node import SampleShape
from keras_lip.program.nodes.merges import Combine
from keras_lip.program.program import LIVE_MACHINE
from keras_lip.proofs.rounding import add_down
from keras_lip.proofs.rounding import divide_up
from keras_lip.proofs.rounding import multiply_up
from keras_lip.read_weight import read_weight
from keras_lip.types import Array
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_number
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class InvertibleResidual(LipschitzLayer):
    """Residual layer `x + scale * f(x)`, whose inverse is known up to a bound.

    `f` is given by layers with a Lipschitz bound. Let `L` be their proven
    bound, for example one, and `q = scale * L`. The layer is `(1
    + q)`-Lipschitz, and its outputs are at least `1 - q` times as far apart as
    its inputs, which `keras_lip.bounds.contraction_bound` proves. If `q` is
    less than one, the layer is invertible. The inverse of `y` is the limit of
    `x = y - scale * f(x)`, and `inverse` takes a number of these steps.

    Both bounds hold in each norm in which all layers of `f` have a bound. The
    layer itself is not 1-Lipschitz.

    Args:
        layers: A layer, or a list of layers that are applied one after the
            other, for `f`. They must have a Lipschitz bound and keep the shape
            of their inputs. Layers of this library with a guaranteed bound of
            one, such as `OrthogonalDense` and `MaxMin`, keep `q` at `scale`
            throughout training.
        scale: Float between 0 and 1, both excluded. Factor of `f`. Defaults to
            `0.5`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        TypeError: If `layers` contains anything other than layers, or a model.
        ValueError: If `layers` is empty; if a layer has no Lipschitz bound; if
            the layers have no norm in common; if `scale` is out of range; or,
            when the layer is built or called, if `f` changes the shape of its
            inputs.

    Input shape:
        The input shape of the first layer of `f`.

    Output shape:
        Same as the input.

    Example:

    >>> block = [
    ...     keras_lip.layers.OrthogonalDense(4), keras_lip.layers.MaxMin()
    ... ]
    >>> layer = keras_lip.layers.InvertibleResidual(block, scale=0.5)
    >>> x = np.array([[1.0, 2.0, 3.0, 4.0]])
    >>> y = layer(x)
    >>> bool(np.max(np.abs(layer.inverse(y, steps=30) - x)) < 1e-5)
    True
    >>> bool(layer.inverse_error_bound(y, steps=30)[0] < 1e-7)
    True

    Reference:

    - [Behrmann et al., 2019](https://arxiv.org/abs/1811.00995), Theorem 1 and
      Algorithm 1; Lemma 2 for the constants
    """

    guarantee = "invertible if its branch is a contraction"

    def __init__(
        self,
        layers: keras.layers.Layer | Sequence[keras.layers.Layer],
        scale: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        listed = list_layers(layers)
        self.norms = find_common_norms(listed)
        self.scale = check_number("scale", scale, 0.0, open_low=True)
        if np.float32(self.scale) >= 1:
            raise ValueError(
                "`scale` must be less than 1: otherwise the layer may map "
                f"different inputs to one output. Received: scale={scale!r}"
            )
        self.layers = listed

    def build(self, input_shape: Shape) -> None:
        shape = tuple(input_shape)
        for layer in self.layers:
            if not layer.built:
                layer.build(shape)
            shape = tuple(layer.compute_output_shape(shape))
        self._check_shape(tuple(input_shape), shape)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        # Keras freezes the layers if this layer is frozen later, but not if it
        # is created with `trainable=False`.
        training = bool(training and self.trainable)
        return inputs + self._branch(inputs, training)

    def inverse(self, outputs: Tensor, steps: int = 20) -> Tensor:
        """Approximates the inputs with given outputs, by fixed-point steps.

        It starts at the outputs. The result is differentiable with respect to
        the outputs and the weights. If `q < 1`, each step divides the error by
        at least `1 / q`, up to rounding; otherwise the steps may diverge. The
        layers of `f` run at inference.

        Args:
            outputs: Tensor of outputs of the built layer.
            steps: Positive integer. Number of steps. Defaults to `20`.

        Returns:
            Tensor of the same shape and of the layer's compute dtype.

        Raises:
            ValueError: If `steps` is not a positive integer, or the layer is
                not built.

        Reference:

        - [Behrmann et al., 2019](https://arxiv.org/abs/1811.00995), Algorithm 1
        """
        steps = check_positive_integer("steps", steps)
        self._check_built()
        outputs = ops.convert_to_tensor(outputs, dtype=self.compute_dtype)
        inputs = outputs
        for _ in range(steps):
            inputs = outputs - self._branch(inputs, training=False)
        return inputs

    def inverse_error_bound(
        self, outputs: Any, steps: int = 20, norm: str | None = None
    ) -> Array:
        """Bounds the error of `inverse` in exact arithmetic, before it runs.

        It is `q^steps / (1 - q) * |scale * f(y)|`, for the current weights, in
        float64 and rounded up. Rounding errors of `inverse` come on top. To
        include them, use `input_error_bound` on its result.

        Args:
            outputs: Array of outputs `y` of the built layer.
            steps: Positive integer. Number of steps. Defaults to `20`.
            norm: `"l2"` or `"linf"`. Norm of one sample. Defaults to `None`,
                for the first of the layer's `norms`.

        Returns:
            Float64 array of shape `(num_samples,)`.

        Raises:
            ValueError: If `q` is not proven to be less than one, `steps` is not
                a positive integer, an output is not finite, the layer is not
                built, or has no bound in `norm`.

        Reference:

        - [Behrmann et al., 2019](https://arxiv.org/abs/1811.00995), section 2
        """
        steps = check_positive_integer("steps", steps)
        wanted = _to_samples("outputs", outputs)
        norm, rate, programs = self._prove_rate(norm, wanted.shape[1:])
        branch = start_enclosure(wanted, LIVE_MACHINE)
        for program in programs:
            (branch,) = program.enclose_from([branch], LIVE_MACHINE)
        first = upward.multiply(_bound_norms(branch, norm), self._read_scale())
        factor = divide_up(1.0, add_down(1.0, -rate))
        for _ in range(steps):
            factor = multiply_up(factor, rate)
        return upward.multiply(first, factor)

    def input_error_bound(
        self, inputs: Any, outputs: Any, norm: str | None = None
    ) -> Array:
        """Bounds the distance of inputs from the exact inverse of outputs.

        It holds for any `inputs`, such as the result of `inverse` with all its
        rounding errors: `|x - inverse(y)|` is at most the distance of the
        layer's exact output at `x` from `y`, divided by the proven contraction
        of the layer. It is computed in float64 and rounded up.

        Args:
            inputs: Array of inputs `x`.
            outputs: Array of outputs `y` of the same shape.
            norm: `"l2"` or `"linf"`. Norm of one sample. Defaults to `None`,
                for the first of the layer's `norms`.

        Returns:
            Float64 array of shape `(num_samples,)`.

        Raises:
            ValueError: If `q` is not proven to be less than one, a number is
                not finite, the shapes differ, the layer is not built, or has no
                bound in `norm`.
        """
        found = _to_samples("inputs", inputs)
        wanted = _to_samples("outputs", outputs)
        if found.shape != wanted.shape:
            raise ValueError(
                "`inputs` and `outputs` must have the same shape. Received: "
                f"{found.shape} and {wanted.shape}"
            )
        norm, rate, _ = self._prove_rate(norm, found.shape[1:])
        program = freeze_layer(self, [found.shape[1:]])
        start = start_enclosure(found, LIVE_MACHINE)
        (image,) = program.enclose_from([start], LIVE_MACHINE)
        # A difference is off by at most one unit in the last place.
        apart = np.nextafter(np.abs(image.value - wanted), np.inf)
        off = _bound_norms(image.with_value(apart), norm)
        least = max(add_down(1.0, -rate), bound_contraction(program, norm))
        return upward.multiply(off, divide_up(1.0, least))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def _branch(self, inputs: Tensor, training: bool) -> Tensor:
        outputs = inputs
        for layer in self.layers:
            outputs = layer(outputs, training=training)
        # Sums of different shapes would be broadcast.
        self._check_shape(tuple(inputs.shape), tuple(outputs.shape))
        return ops.cast(outputs, self.compute_dtype) * self._rounded_scale()

    def _rounded_scale(self) -> Tensor:
        return ops.convert_to_tensor(self.scale, dtype=self.compute_dtype)

    def _read_scale(self) -> float:
        return float(read_weight(self._rounded_scale()))

    def _check_shape(self, before: Shape, after: Shape) -> None:
        if before != after:
            raise ValueError(
                f"The layers of layer '{self.name}' must not change the shape "
                f"of their inputs. Received: input shape {before}, output "
                f"shape {after}"
            )

    def _check_built(self) -> None:
        if not self.built:
            raise ValueError(
                f"Layer '{self.name}' is not built, so it has no inverse. Call "
                "it on a batch of data first."
            )

    def _prove_rate(
        self, norm: str | None, shape: SampleShape
    ) -> tuple[str, float, list[Program]]:
        """Proves that the branch is a contraction of samples of a shape.

        Returns:
            Tuple of the norm, of the bound `q < 1`, and of the program of each
            layer of the branch.
        """
        self._check_built()
        norm = self.norms[0] if norm is None else norm
        if norm not in self.norms:
            raise ValueError(
                f"Layer '{self.name}' has bounds in {self.norms}. Received: "
                f"norm={norm!r}"
            )
        programs = []
        for layer in self.layers:
            programs.append(freeze_layer(layer, [shape]))
            shape = programs[-1].output_shape or shape
        bounds = [program.bounds(norm).output for program in programs]
        rate = multiply_up(self._read_scale(), *bounds)
        if not rate < 1:
            raise ValueError(
                f"The inverse of layer '{self.name}' is not known: `scale` "
                "times the Lipschitz bound of its layers must be less than "
                "one. Use layers with a bound of one, or a smaller `scale`. "
                f"Received: scale={self.scale}, a product of {rate:.6g} in "
                f"{norm}"
            )
        return norm, rate, programs

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        branch = x
        for layer in self.layers:
            branch = branch.through(layer)
        # If sizes were unknown in `build`, the sum might still broadcast.
        check_same_shapes(self, (x, branch))
        return x.then(Combine((1.0, self._read_scale())), branch)

    def _estimate_bound(self, training: bool) -> Any:
        training = bool(training and self.trainable)
        bound: Any = self.scale
        for layer in self.layers:
            bound = bound * estimate_part(layer, training)
        return 1.0 + bound

    def _fix_config(self, config: Config) -> Config:
        pairs = zip(config["layers"], self.layers, strict=True)
        return {**config, "layers": [fix_entry(*pair) for pair in pairs]}

    def get_config(self) -> Config:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "layers": [serialize(layer) for layer in self.layers],
            "scale": self.scale,
        }

    @classmethod
    def from_config(cls, config: Config) -> "InvertibleResidual":
        deserialize = keras.saving.deserialize_keras_object
        layers = [deserialize(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})


def _to_samples(name: str, x: Any) -> Array:
    array = read_weight(x) if not isinstance(x, np.ndarray) else x
    array = array.astype("float64")
    if not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` must be finite numbers. Received: NaN or infinity"
        )
    return array


def _bound_norms(values: Enclosure, norm: str) -> Array:
    """Bounds the norms of exact values."""
    if norm == "l2":
        norms = upward.sample_norms(values.value)
    else:
        flat = np.abs(values.value).reshape(len(values.value), -1)
        norms = np.max(flat, axis=1, initial=0.0)
    # The errors are known in l2, where they are at least as large.
    return upward.add(norms, values.center)
