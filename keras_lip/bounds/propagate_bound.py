"""The rules by which bounds pass through layers, one for each exact class."""

import math
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any
from typing import TypeVar

import keras
import numpy as np

from keras_lip.bounds.norms import NORMS
from keras_lip.bounds.norms import check_norm
from keras_lip.bounds.read_kernel import read_weight
from keras_lip.bounds.rounding import multiply_up
from keras_lip.graph import is_hooked

Rule = Callable[[Any, Any], float]
_Rule = TypeVar("_Rule", bound=Rule)


class PropagateBound:
    """Bounds a layer's output, given the bounds of its inputs.

    A class has a rule if one is registered for exactly this class: a subclass
    may compute anything, so it needs a rule of its own. Layers with a
    `lipschitz_bound()` method need none; it holds in the norms that their
    attribute `norms` lists, or in l2 if there is none. Called as a function of:

    Args:
        layer: A built layer, or a `keras.Operation` of a functional graph.
        inputs: Float, or a list of floats if the layer takes several inputs.
            Each is the Lipschitz bound, in the norm of one sample, from the
            model's input to that input.
        norm: `"l2"` or `"linf"`.

    Returns:
        Float. The Lipschitz bound from the model's input to the layer's output.
        It is infinite if a weight is not finite.

    Raises:
        ValueError: If no bound is known in this norm, naming the layer.

    Example:

    ```python
    @keras_lip.bounds.propagate_bound.register(MyLayer)
    def _(layer, inputs):
        return 0.5 * inputs
    ```
    """

    def __init__(self) -> None:
        self._rules: dict[type, dict[str, Rule]] = {}

    def register(
        self, *classes: type, norms: Iterable[str] = ("l2",)
    ) -> Callable[[_Rule], _Rule]:
        """Registers a rule for exactly the given classes.

        Args:
            *classes: Classes of layers. Their subclasses are not included.
            norms: Names of the norms that the rule holds in, `"l2"` and
                `"linf"`.

        Returns:
            A decorator of functions of `(layer, inputs)` that return a float.

        Raises:
            TypeError: If an argument is not a class.
            ValueError: If a norm is unknown.
        """
        norms = [check_norm(norm) for norm in norms]
        for layer_class in classes:
            if not isinstance(layer_class, type):
                raise TypeError(
                    "`propagate_bound.register` takes classes of layers, as in "
                    "`@propagate_bound.register(MyLayer)`. Received: "
                    f"{layer_class!r}"
                )

        def register(rule: _Rule) -> _Rule:
            for layer_class in classes:
                rules = self._rules.setdefault(layer_class, {})
                rules.update(dict.fromkeys(norms, rule))
            return rule

        return register

    def __call__(self, layer: Any, inputs: Any, norm: str = "l2") -> float:
        self.check_bounded(layer, norm)
        rule = self._rules.get(type(layer), {}).get(norm, _ask_layer)
        bound = rule(layer, inputs)
        # What is no number, or less than zero, bounds nothing.
        return bound if bound >= 0 and _is_finite(layer) else math.inf

    def find_norms(self, layer: Any) -> tuple[str, ...]:
        """Returns the names of the norms that a layer has a bound in.

        Args:
            layer: A layer or operation. Its weights are not looked at.

        Raises:
            ValueError: If no bound is known, naming the layer and saying why.
        """
        why = self._why_unbounded(layer)
        if why is not None:
            raise ValueError(
                f"No Lipschitz bound is known for layer '{layer.name}' of type "
                f"`{type(layer).__name__}`{why}. Use a layer of "
                "`keras_lip.layers` instead, or register a bound with "
                "`@keras_lip.bounds.propagate_bound.register`."
            )
        known = set(self._rules.get(type(layer), {}))
        if hasattr(type(layer), "lipschitz_bound"):
            known.update(getattr(layer, "norms", ("l2",)))
        return tuple(norm for norm in NORMS if norm in known)

    def check_bounded(self, layer: Any, norm: str) -> None:
        """Refuses a layer for which no bound is known in a norm.

        Args:
            layer: A layer or operation. Its weights are not looked at.
            norm: `"l2"` or `"linf"`.

        Raises:
            ValueError: If no bound is known, naming the layer and saying why.
        """
        norms = self.find_norms(layer)
        if check_norm(norm) not in norms:
            raise ValueError(
                f"Layer '{layer.name}' of type `{type(layer).__name__}` has a "
                f"Lipschitz bound in the norm {' or '.join(norms)}. Received: "
                f"norm={norm!r}"
            )

    def _why_unbounded(self, layer: Any) -> str | None:
        for name in _replaced_methods(layer):
            return f", whose `{name}` was replaced on the instance"
        if is_hooked(layer):
            return ", which has hooks"
        if isinstance(layer, keras.layers.Layer):
            why = _why_inexact(layer)
            if why is not None:
                return why
        if type(layer) in self._rules:
            return None
        if not isinstance(layer, keras.layers.Layer):
            return " (an operation of `keras.ops`)"
        if not hasattr(type(layer), "lipschitz_bound"):
            return " (rules go by exact class, a subclass needs its own)"
        for name in ("call", "__call__", "forward"):
            if _depth(layer, name) < _depth(layer, "lipschitz_bound"):
                return f", which overrides `{name}` but not `lipschitz_bound`"
        return None


propagate_bound = PropagateBound()


def _ask_layer(layer: Any, inputs: Any) -> float:
    """Bounds the output of a layer that has a `lipschitz_bound()`."""
    if isinstance(inputs, list | tuple):
        raise ValueError(
            f"Layer '{layer.name}' of type `{type(layer).__name__}` has a "
            "`lipschitz_bound()`, which is for layers of one input. "
            f"Received: {len(inputs)} inputs. Register a rule with "
            "`@keras_lip.bounds.propagate_bound.register`."
        )
    return multiply_up(inputs, layer.lipschitz_bound())


def _replaced_methods(layer: Any) -> list[str]:
    """Returns the methods that a layer has on the instance, not the class."""
    # Keras puts wrappers of these two there itself.
    own = vars(layer).keys() - {"build", "quantize"}
    return sorted(
        name for name in own if callable(getattr(type(layer), name, None))
    )


def _why_inexact(layer: keras.layers.Layer) -> str | None:
    """Says why a layer does not compute with the numbers that it shows."""
    if layer.quantization_mode is not None:
        return ", which is quantized"
    if not keras.backend.is_float_dtype(layer.compute_dtype):
        return f", which rounds its inputs to {layer.compute_dtype}"
    half = layer.compute_dtype in ("float16", "bfloat16")
    if half and getattr(layer, "lora_enabled", False):
        return f", which adds LoRA weights in {layer.compute_dtype}"
    return None


def _is_finite(layer: Any) -> bool:
    weights = getattr(layer, "weights", [])
    return all(np.isfinite(read_weight(weight)).all() for weight in weights)


def _depth(layer: Any, method: str) -> int:
    """Returns how far up its classes a layer finds a method."""
    classes = type(layer).__mro__
    depths = (i for i, cls in enumerate(classes) if method in vars(cls))
    return next(depths, len(classes))
