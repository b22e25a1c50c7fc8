"""The base class of Lipschitz layers."""

import inspect
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_lip.held_values import hold_once
from keras_lip.layers.initializers import check_initializer
from keras_lip.linalg import start_vector
from keras_lip.parametrizations import Parametrization
from keras_lip.program import Program
from keras_lip.program import freeze_layer
from keras_lip.program.builder import Wire
from keras_lip.types import Array
from keras_lip.types import Config
from keras_lip.types import Shape


class LipschitzLayer(keras.layers.Layer):
    """A layer that describes its computation, so that it can be certified.

    A call depends only on the inputs and the weights, so the certified function
    is the function used at inference. `predict` and `evaluate` of this
    library's models cache the result of `_constrain` while the weights do not
    change. Certificates never read this cache, but keep the last result of each
    layer for weights of the same bits. Subclasses are final and implement
    `build`, `call` and `freeze`. `freeze` returns the nodes of a
    `keras_lip.program.Program` that describe the layer at inference. Its bound
    and its stock form are derived from these nodes.

    If only a bound is known for your own layer, implement `lipschitz_bound`
    instead. A subclass that overrides another method of a layer, such as
    `call`, has no bound.

    Arguments of a built layer that are integers, Booleans, strings or tuples
    cannot be changed, because weights and checks depend on them, nor can the
    class of a parametrization. Numbers such as a scale and activations can:
    calls and bounds use the current ones. Weights are assigned to, not
    replaced.

    Attributes:
        norms: Names of the norms in which the bound holds, of `"l2"` and
            `"linf"`.
        guarantee: Short description of the layer's guarantee.
    """

    norms: tuple[str, ...] = ("l2",)
    guarantee: str = "non-expansive"

    _argument_names: frozenset[str] = frozenset()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        names = inspect.signature(cls.__init__).parameters
        cls._argument_names = frozenset(names)

    def __setattr__(self, name: str, value: Any) -> None:
        # PyTorch 2.6 cannot compile `vars`.
        if self.__dict__.get("built"):
            _check_weight(self, name, value)
            if name in type(self)._argument_names:
                _check_unchanged(self, name, value)
        super().__setattr__(name, value)

    def freeze(self, *inputs: Wire) -> Wire:
        """Describes the computation of the built layer at inference.

        Args:
            *inputs: The input wires. If `inputs[0].proven` is `True`, estimated
                scales are replaced by scales that are proven to be
                non-expansive.

        Returns:
            The `keras_lip.program.builder.Wire` of the output.

        Raises:
            NotImplementedError: If a subclass does not implement it.
        """
        raise NotImplementedError(
            f"Layer '{self.name}' of type `{type(self).__name__}` must "
            "implement `freeze`, or `lipschitz_bound`."
        )

    def lipschitz_bound(self) -> float:
        """Returns a proven bound for the built layer and its current weights.

        The bound is computed from the weights used at inference, in float64,
        and rounded up. It is never assumed to be one because of theory. Bounds
        of convolutions hold for images of any size; `audit`, which knows the
        size, may prove less. For a layer with several inputs, it is the bound
        of the output if each input is a 1-Lipschitz function of the model's
        input.

        Returns:
            Float. A proven upper bound that holds in each of the layer's
            `norms`.

        Raises:
            ValueError: If the layer is unknown or not built.
        """
        # A subclass that overrides the bound may call this method.
        program = freeze_layer(self, own=True)
        return max(
            program.bounds(norm, for_any_size=True).output
            for norm in self.norms
        )

    def to_keras_layer(self, proven: bool = False) -> keras.Model:
        """Returns a stock Keras model that computes the same function.

        Args:
            proven: Boolean. Some layers divide by an estimated norm. If `True`,
                the stock model uses a scale that is proven to be non-expansive
                instead. Defaults to `False`, for the scale used at inference.

        Returns:
            A functional model that contains only `keras.layers` and
            `keras.ops`.

        Raises:
            ValueError: If the layer is not built, or a required input size is
                unknown.
        """
        program = self._read(proven)
        if None in program.input_shapes:
            raise ValueError(
                f"Layer '{self.name}' is not built, so the shape of its inputs "
                "is unknown. Call it on a batch of data first."
            )
        inputs = [
            keras.Input(shape, dtype=self.compute_dtype)
            for shape in program.input_shapes
        ]
        outputs = program.to_keras(inputs)
        first = inputs[0] if len(inputs) == 1 else inputs
        return keras.Model(first, outputs, name=self.name)

    def add_weight(
        self,
        shape: Shape | None = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Adds a weight, as `keras.layers.Layer` does.

        Args:
            shape: Shape of the weight. Defaults to `None`, for a scalar.
            initializer: Initializer. Defaults to `None`, for Keras's default.
            dtype: Dtype of the weight. Defaults to `None`, for the layer's
                dtype.
            trainable: Boolean. Whether the weight is trainable. Defaults to
                `True`.
            autocast: Boolean. Whether to cast the weight to the layer's compute
                dtype. Defaults to `True`.
            **kwargs: Arguments of `keras.layers.Layer.add_weight`.

        Raises:
            ValueError: If a weight with `autocast=False` has 16 bits, or the
                initializer does not fit the shape.
        """
        if shape is not None:
            weight = f"weight '{kwargs.get('name')}' of layer '{self.name}'"
            check_initializer(initializer, shape, weight)
        narrow = keras.backend.standardize_dtype(dtype or self.variable_dtype)
        if not autocast and narrow in ("float16", "bfloat16"):
            raise ValueError(
                f"Layer '{self.name}' of type `{type(self).__name__}` needs "
                "weights of at least 32 bits for its guarantee. Received: "
                f"weights in {narrow}. Use `dtype='mixed_{narrow}'`, which "
                f"computes in {narrow} and keeps weights in float32."
            )
        return super().add_weight(
            shape=shape,
            initializer=initializer,
            dtype=dtype,
            trainable=trainable,
            autocast=autocast,
            **kwargs,
        )

    def load_own_variables(self, store: Any) -> None:
        """Loads the weights, as `keras.layers.Layer` does.

        The vector of a power iteration on images has the size of the images
        that the layer was built for. A vector of another size is not loaded and
        restarts, so that the weights can be loaded for images of any size.

        Args:
            store: Dict from the index of a weight to its array.
        """
        values = {key: store[key] for key in store.keys()}
        for index, weight in enumerate(self.weights[: len(values)]):
            saved = values.get(str(index), weight)
            if weight.name.endswith("power_iteration_vector") and tuple(
                saved.shape
            ) != tuple(weight.shape):
                values[str(index)] = start_vector(weight.shape)
        super().load_own_variables(values)

    def _constrain(self) -> Any:
        """Returns the values that inference computes from the weights alone.

        The result is cached while the weights do not change, see
        `compute_once`.

        Returns:
            A tensor, a tuple of tensors, or `None` if there are no such values.
        """
        return None

    @property
    def _is_costly(self) -> bool:
        """Whether `_constrain` takes longer than to read the weights."""
        return True

    def _estimate_bound(self, training: bool) -> Any:
        """Returns the bound in the l2 norm that a loss uses.

        It proves nothing. If the layer does not guarantee a bound, it is
        differentiable with respect to the weights.

        Args:
            training: Boolean. Whether this is a training step, which updates
                the state of an estimate.

        Returns:
            The guaranteed bound, a float, or a scalar tensor.

        Raises:
            ValueError: If the layer has no such bound.
        """
        return 1.0

    def _proven_step(self) -> Any:
        """Returns the step used at inference, or a shorter one that is proven.

        Returns:
            Float: the step at inference, or the longest step that is proven to
            be non-expansive if that is shorter. `None` for a layer without a
            step. In a layer with a step, the last weight is the step or the
            vector of its estimate.
        """
        return hold_once(self, "proven_step", self._prove_step)

    def _prove_step(self) -> float | None:
        """Computes `_proven_step`. Layers with a step override this method."""
        return None

    def _fix_config(self, config: Config) -> Config:
        """Returns a config with the proven step.

        A layer that contains other layers overrides this method and calls
        theirs.

        Args:
            config: The config of this built layer.
        """
        step = self._proven_step()
        return config if step is None else {**config, "step": step}

    def _set_fixed_weights(self, source: Any) -> None:
        """Copies the weights of another layer, with its proven steps.

        Args:
            source: The built layer whose `_fix_config` created this layer.
        """
        self.set_weights(fixed_weights(source))

    def _read(self, proven: bool = False) -> Program:
        return freeze_layer(self, proven=proven)


def _check_weight(layer: LipschitzLayer, name: str, value: Any) -> None:
    """Raises an error if a value replaces a weight.

    Compiled functions and `get_weights` would still use the weight.
    """
    before = layer.__dict__.get(name)
    if isinstance(before, keras.Variable) and value is not before:
        raise ValueError(
            f"`{name}` of layer '{layer.name}' is a weight: use "
            f"`layer.{name}.assign(value)` instead. Received: a value of type "
            f"`{type(value).__name__}`"
        )


def _check_unchanged(layer: LipschitzLayer, name: str, value: Any) -> None:
    """Raises an error if a value replaces another structural argument."""
    before = layer.__dict__.get(name)
    if isinstance(before, Parametrization):
        # Its states are weights of the layer.
        is_same = type(value) is type(before)
    elif isinstance(before, int | str | tuple):
        is_same = type(value) is type(before) and value == before
    else:
        return
    if not is_same:
        raise ValueError(
            f"`{name}` of layer '{layer.name}' cannot be changed, because the "
            "layer is built. Make a new layer with the other value instead. "
            f"Received: {name}={value!r}, instead of {before!r}"
        )


def find_constrained_layers(layers: Iterable[Any]) -> list[LipschitzLayer]:
    """Returns the layers that compute values from their weights alone.

    Args:
        layers: Layers of any library, which may contain other layers.
    """
    return [
        each
        for layer in layers
        for each in layer._flatten_layers()
        if isinstance(each, LipschitzLayer)
        and type(each)._constrain is not LipschitzLayer._constrain
        and each.built
    ]


def fix_entry(entry: Config, layer: Any) -> Config:
    """Returns the entry of a layer in a config, with proven steps.

    Args:
        entry: Dict with the `config` of the layer.
        layer: The built layer, of this library or not.
    """
    if not isinstance(layer, LipschitzLayer):
        return entry
    return {**entry, "config": layer._fix_config(entry["config"])}


def fixed_weights(layer: keras.layers.Layer) -> list[Array]:
    """Returns the weights of a built layer, with proven steps.

    Args:
        layer: A layer, of this library or not.
    """
    fixed: dict[int, Array] = {}
    for each in layer._flatten_layers():
        step = each._proven_step() if isinstance(each, LipschitzLayer) else None
        if step is not None:
            fixed[id(each.weights[-1])] = np.asarray(step, "float32")
    return [
        fixed.get(id(weight), array)
        for weight, array in zip(
            layer.weights, layer.get_weights(), strict=True
        )
    ]
