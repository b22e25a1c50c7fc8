"""Rebuilds a stock model from Lipschitz layers, call by call."""

import dataclasses
from typing import Any

import keras

from keras_lip.graph import deep_recursion
from keras_lip.graph import run_graph
from keras_lip.layers import LipschitzScale
from keras_lip.layers import MaxMin
from keras_lip.models.importing.conversion import ConvertedLayer
from keras_lip.models.importing.conversion_options import Options
from keras_lip.models.importing.counterpart import make_counterpart
from keras_lip.models.importing.survey import KERNEL_LAYERS
from keras_lip.models.importing.survey import Survey
from keras_lip.models.lipschitz_model import LipschitzModel
from keras_lip.read_weight import read_weight
from keras_lip.types import Shape
from keras_lip.types import Tensor


def copy_layer(layer: Any, args: tuple[Any, ...]) -> Any:
    """Copies a layer, or operation, with its weights.

    Args:
        layer: A built layer, or a `keras.Operation`.
        args: The symbolic arguments of its call.

    Returns:
        A layer, or operation, of the same class.
    """
    copy = type(layer).from_config(layer.get_config())
    if not isinstance(layer, keras.layers.Layer):
        return copy
    if layer.weights:
        shapes = keras.tree.map_structure(lambda tensor: tensor.shape, args)
        copy.build(*shapes)
        copy.set_weights(layer.get_weights())
    if getattr(layer, "lora_enabled", False):
        # `Dense.build` resets it.
        copy.lora_alpha = layer.lora_alpha
    if hasattr(copy, "finalize_state"):
        # `Normalization` computes with constants derived from its weights.
        copy.finalize_state()
    return copy


_ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
)


@dataclasses.dataclass(frozen=True)
class _Part:
    """The replacement of a layer: layers to call one after the other.

    Attributes:
        layers: List of layers. It is empty if the input is returned unchanged.
        factors: Factors by which the layers shrink each output.
    """

    layers: list[Any]
    factors: tuple[float, ...]


class Converter:
    """Rebuilds models, and records the conversion of each layer.

    Every tensor of the new model has a scale: the factor by which it is smaller
    than in the stock model, if kernels were only scaled.

    Args:
        survey: The `Survey` of the model.
        options: The `Options` of the conversion.

    Attributes:
        rows: List of `ConvertedLayer`.
    """

    def __init__(self, survey: Survey, options: Options) -> None:
        self.rows: list[ConvertedLayer] = []
        self._survey = survey
        self._options = options
        self._parts: dict[int, _Part] = {}
        self._scales: dict[int, float] = {}

    def convert(
        self, model: keras.Model, scale: float = 1.0
    ) -> tuple[Any, tuple[float, ...]]:
        """Rebuilds a model.

        Args:
            model: The surveyed model, or a model nested in it.
            scale: Float. The scale of its inputs.

        Returns:
            Tuple of a `LipschitzModel` and the scales of its outputs.
        """
        graph = self._survey.graphs[id(model)]
        inputs = [
            keras.Input(
                batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name
            )
            for tensor in graph.inputs
        ]
        for tensor in inputs:
            self._scales[id(tensor)] = scale
        with deep_recursion():
            outputs = run_graph(graph, inputs, self._apply)
            scales = tuple(self._scales[id(tensor)] for tensor in outputs)
            if len(inputs) == len(outputs) == 1:
                (inputs,), (outputs,) = inputs, outputs
            return LipschitzModel(inputs, outputs, name=model.name), scales

    def _apply(
        self,
        layer: Any,
        symbolic: list[Tensor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        args, kwargs, scale = self._align(layer, args, kwargs)
        # A layer that is called twice remains a single layer in the new model.
        if id(layer) not in self._parts:
            self._parts[id(layer)] = self._make_part(
                layer, args, scale, len(symbolic)
            )
        part = self._parts[id(layer)]
        outputs = args[0]
        for index, each in enumerate(part.layers):
            outputs = each(outputs) if index else each(*args, **kwargs)
        flat = keras.tree.flatten(outputs)
        for tensor, factor in zip(flat, part.factors, strict=True):
            self._scales[id(tensor)] = scale * factor
        return outputs

    def _align(
        self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], float]:
        """Brings all tensors that a layer merges to the largest scale."""
        tensors = [
            value
            for value in keras.tree.flatten([args, kwargs])
            if isinstance(value, keras.KerasTensor)
        ]
        scale = max(self._scales[id(tensor)] for tensor in tensors)
        aligned: dict[int, Tensor] = {}
        for tensor in tensors:
            # The factor is below one, so the `LipschitzScale` is non-expansive.
            factor = self._scales[id(tensor)] / scale
            if factor == 1.0 or id(tensor) in aligned:
                continue
            shrink = LipschitzScale(factor)
            aligned[id(tensor)] = shrink(tensor)
            self.rows.append(
                ConvertedLayer(
                    shrink.name,
                    "-",
                    "inserted",
                    "LipschitzScale",
                    scale=1 / factor,
                    note=f"before '{layer.name}'",
                )
            )

        def replace(value: Any) -> Any:
            return aligned.get(id(value), value)

        args, kwargs = keras.tree.map_structure(replace, (args, kwargs))
        return args, kwargs, scale

    def _make_part(
        self, layer: Any, args: tuple[Any, ...], scale: float, outputs: int
    ) -> _Part:
        if isinstance(layer, keras.Model):
            model, scales = self.convert(layer, scale)
            return _Part([model], tuple(each / scale for each in scales))
        if type(layer) in KERNEL_LAYERS:
            return self._replace(layer, args, scale)
        if id(layer) in self._survey.folded:
            self._note(layer, "folded", "-")
            return _Part([], (1.0,))
        if id(layer) in self._survey.dropped:
            self._note(layer, "dropped", "-", "logits are certified")
            return _Part([], (1.0,))
        copy = copy_layer(layer, args)
        if type(layer) in _ACTIVATIONS and not _is_linear(layer):
            return _Part([self._activate(copy, args[0].shape, "kept")], (1.0,))
        if type(layer) is keras.layers.BatchNormalization:
            _shrink_shift(copy, scale)
        self._note(layer, "kept", type(layer).__name__)
        return _Part([copy], (1.0,) * outputs)

    def _replace(
        self, layer: Any, args: tuple[Any, ...], scale: float
    ) -> _Part:
        """Replaces a layer with a kernel, and makes its activation a layer."""
        made, moved, factor = make_counterpart(
            layer,
            self._survey.folds.get(id(layer)),
            args[0].shape,
            scale,
            self._options,
            id(layer) in self._survey.heads,
        )
        bare = id(layer) in self._survey.bare
        activation = layer.activation
        note = f"{activation.__name__} dropped: logits are certified"
        self._note(
            layer,
            "replaced",
            type(made).__name__,
            note if bare else "",
            moved,
            factor,
        )
        if bare or _is_linear(layer):
            return _Part([made], (factor,))
        split = keras.layers.Activation(
            activation,
            name=f"{layer.name}_{activation.__name__}",
            dtype=layer.dtype_policy,
        )
        shape = made.compute_output_shape(args[0].shape)
        return _Part([made, self._activate(split, shape, "split")], (factor,))

    def _activate(self, layer: Any, shape: Shape, action: str) -> Any:
        """Returns an activation or its replacement."""
        if self._options.activation == "keep":
            self._note(layer, action, type(layer).__name__)
            return layer
        images = self._survey.channels_first and len(shape) > 2
        axis = 1 if images else -1
        channels = shape[axis]
        if channels is None or channels % 2:
            note = f"no pairs of {channels} channels"
            self._note(layer, action, type(layer).__name__, note)
            return layer
        self._note(layer, "replaced", "MaxMin")
        return MaxMin(axis, name=layer.name, dtype=layer.dtype_policy)

    def _note(
        self,
        layer: Any,
        action: str,
        counterpart: str,
        note: str = "",
        moved: float | None = None,
        scale: float | None = None,
    ) -> None:
        kind = type(layer).__name__
        self.rows.append(
            ConvertedLayer(
                layer.name, kind, action, counterpart, moved, scale, note
            )
        )


def _is_linear(layer: Any) -> bool:
    linear = keras.activations.linear
    return getattr(layer, "activation", None) is linear


def _shrink_shift(norm: Any, scale: float) -> None:
    """Scales the shift of a batch normalization like its inputs."""
    shifts = [norm.moving_mean, *([norm.beta] if norm.center else [])]
    for shift in shifts:
        shift.assign((read_weight(shift) / scale).astype("float32"))
