"""The contract every Lipschitz layer keeps."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_lip.layers.initializers import check_initializer
from keras_lip.linalg import start_vector
from keras_lip.program import Program
from keras_lip.program import freeze_layer
from keras_lip.program.builder import Wire
from keras_lip.types import Array
from keras_lip.types import Config
from keras_lip.types import Shape


class LipschitzLayer(keras.layers.Layer):
    """A layer that says what it computes, so that it can be certified.

    What a call computes depends on the weights alone, so what is certified is
    what runs. `predict` and `evaluate` of this library's models keep what
    `_constrain` returns while the weights stay; no certificate reads what is
    kept. Subclasses are final and implement `build`, `call` and `freeze`: which
    nodes of a `keras_lip.program.Program` the layer is at inference. Its bound
    and its stock form follow from these.

    A layer of your own of which no more is known than its bound may implement
    `lipschitz_bound` instead. A subclass that overrides anything else of a
    layer, such as `call`, is refused wherever a bound is asked for.

    Attributes:
        norms: Names of the norms that the bound holds in, `"l2"` and `"linf"`.
        guarantee: What the layer promises, in a few words.
    """

    norms: tuple[str, ...] = ("l2",)
    guarantee: str = "non-expansive"

    def freeze(self, *inputs: Wire) -> Wire:
        """Writes down what the built layer computes at inference.

        Args:
            *inputs: The wires that it is applied to. Where `inputs[0].proven`
                is true, a scale that is estimated from below is replaced by one
                that is proven to be non-expansive.

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
        """Bounds the Lipschitz constant of the built layer as it now stands.

        The bound is measured on the weights that run at inference, in float64
        and rounded up; it is not assumed to be one because the mathematics says
        so. Of a layer of several inputs it is that of the output, if each input
        is a 1-Lipschitz function of the model's input.

        Returns:
            Float. A proven upper bound, in each of the layer's `norms` of one
            sample.

        Raises:
            ValueError: If the layer is not known, or not built.
        """
        # A subclass that claims another bound may ask for this one.
        program = freeze_layer(self, own=True)
        return max(program.bounds(norm).output for norm in self.norms)

    def to_keras_layer(self, proven: bool = False) -> keras.Model:
        """Returns a stock Keras model that computes the same function.

        Args:
            proven: Boolean. A layer may run on a scale that it estimates from
                below. If true, the stock model holds a scale that is proven to
                be non-expansive instead. Defaults to `False`, for the one that
                runs.

        Returns:
            A functional model of `keras.layers` and `keras.ops` alone.

        Raises:
            ValueError: If the layer is not built, or the shape of the inputs is
                not known where it counts.
        """
        program = self._read(proven)
        if None in program.input_shapes:
            raise ValueError(
                f"Layer '{self.name}' is not built, so that the shape of its "
                "inputs is not known. Call it on a batch of data first."
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
            initializer: Initializer. Defaults to `None`, for that of Keras.
            dtype: Dtype of the weight. Defaults to `None`, for that of the
                layer.
            trainable: Boolean. Whether it is trained. Defaults to `True`.
            autocast: Boolean. Whether it is read in the dtype that the layer
                computes in, and not in its own. Defaults to `True`.
            **kwargs: Passed to `keras.layers.Layer.add_weight`.

        Raises:
            ValueError: If a weight that is read in its own dtype, to be
                constrained, has 16 bits; or if the initializer is an identity
                or an array of another shape.
        """
        if shape is not None:
            weight = f"weight '{kwargs.get('name')}' of layer '{self.name}'"
            check_initializer(initializer, shape, weight)
        narrow = keras.backend.standardize_dtype(dtype or self.variable_dtype)
        if not autocast and narrow in ("float16", "bfloat16"):
            raise ValueError(
                f"Layer '{self.name}' of type `{type(self).__name__}` keeps "
                "its promise with weights of at least 32 bits. Received: "
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
        that the layer was built for. One of another size is left out, and
        starts afresh, so that the weights fit images of every size.

        Args:
            store: Dict of arrays by the number of the weight.
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
        """Returns what inference computes from the weights alone.

        It is computed once while the weights stay, see `compute_once`.

        Returns:
            A tensor, or a tuple of them; `None` if there is nothing of the
            kind.
        """
        return None

    def _proven_step(self) -> float | None:
        """Returns the step that runs, or the longest that is proven.

        Returns:
            Float, the shorter of both; or `None` for a layer without a step of
            its own. Where there is one, the last weight is the step, or what it
            is estimated with.
        """
        return None

    def _fix_config(self, config: Config) -> Config:
        """Returns a config whose `step` is the proven one.

        A layer of other layers overrides it, and asks these.

        Args:
            config: The config of this layer, which is built.
        """
        step = self._proven_step()
        return config if step is None else {**config, "step": step}

    def _set_fixed_weights(self, source: Any) -> None:
        """Sets the weights of another layer, with its proven steps.

        Args:
            source: The built layer of which `_fix_config` made this one.
        """
        self.set_weights(fixed_weights(source))

    def _read(self, proven: bool = False) -> Program:
        return freeze_layer(self, proven=proven)


def find_constrained_layers(layers: Iterable[Any]) -> list[LipschitzLayer]:
    """Returns the layers that compute something from their weights alone.

    Args:
        layers: Layers, of this library or not, which may hold others.
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
        entry: Dict that holds the `config` of the layer.
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
