"""The functions that read each class of layers and operations."""

import math
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any
from typing import TypeVar

import keras

from keras_lip.graph import is_hooked
from keras_lip.precision import is_narrow
from keras_lip.program.freezing.reasons import REASONS
from keras_lip.proofs.norms import NORMS
from keras_lip.proofs.norms import check_norm

Freezer = Callable[..., Any]
Rule = Callable[[Any, Any], float]
_Function = TypeVar("_Function", bound=Callable[..., Any])

# Attributes that a subclass may define without changing the computation of its
# base class.
_HARMLESS = {
    "__abstractmethods__",
    "__annotations__",
    "__doc__",
    "__firstlineno__",
    "__init__",
    "__module__",
    "__orig_bases__",
    "__parameters__",
    "__qualname__",
    "__slots__",
    "__static_attributes__",
    "__dict__",
    "__weakref__",
    "_abc_impl",
    "_argument_names",
    "from_config",
    "get_build_config",
    "get_config",
    "guarantee",
}

# Packages of the classes from which Keras derives layers.
_LIBRARIES = {
    *("abc", "builtins", "keras", "keras_lip"),
    *("tensorflow", "torch", "typing"),
}

# Methods that define the program of a layer, or its Lipschitz bound.
_PROVIDERS = ("freeze", "lipschitz_bound")

# The freezers of this library, for exact classes of Keras.
_freezers: dict[type, tuple[Freezer, tuple[str, ...]]] = {}


def register_freezer(
    *classes: type, norms: Iterable[str] = NORMS
) -> Callable[[_Function], _Function]:
    """Registers a function that reads layers, or operations, of some classes.

    The function is called with a layer and its input wires, or with an
    operation and the arguments of its call. It returns one or several wires.

    Args:
        *classes: Classes. Their subclasses are not included.
        norms: Names of the norms in which a bound is known.
    """

    def register(function: _Function) -> _Function:
        for each in classes:
            _freezers[each] = (function, tuple(norms))
        return function

    return register


def find_freezer(layer: Any) -> Freezer | None:
    """Returns the function that reads layers of exactly this class."""
    found = _freezers.get(type(layer))
    return None if found is None else found[0]


class Rules:
    """Rules registered by users: bounds of layers, by exact class.

    Attributes:
        rules: Dict of the rules by class, and by norm.
    """

    def __init__(self) -> None:
        self.rules: dict[type, dict[str, Rule]] = {}

    def register(
        self, *classes: type, norms: Iterable[str] = ("l2",)
    ) -> Callable[[_Function], _Function]:
        """Registers a rule for exactly the given classes."""
        norms = [check_norm(norm) for norm in norms]
        for layer_class in classes:
            if not isinstance(layer_class, type):
                raise TypeError(
                    "`propagate_bound.register` takes classes of layers, as in "
                    "`@propagate_bound.register(MyLayer)`. Received: "
                    f"{layer_class!r}"
                )

        def register(rule: _Function) -> _Function:
            for layer_class in classes:
                rules = self.rules.setdefault(layer_class, {})
                rules.update(dict.fromkeys(norms, rule))
            return rule

        return register

    def find(self, layer: Any) -> dict[str, Rule]:
        """Returns the rules of exactly the class of a layer, by norm."""
        return self.rules.get(type(layer), {})


RULES = Rules()


def find_provider(layer: Any) -> str | None:
    """Returns the method that bounds a layer, or `None` if there is none.

    If a layer has both `freeze` and `lipschitz_bound`, this is the method of
    the most derived class.
    """
    depths = {name: _depth(layer, name) for name in _PROVIDERS}
    modules = {cls.__module__ for cls in type(layer).__mro__}
    if "keras_lip.layers.lipschitz_layer" not in modules:
        # Another layer's `freeze` may do something else.
        depths["freeze"] = math.inf
    name = min(depths, key=lambda name: depths[name])
    return name if depths[name] < math.inf else None


def find_norms(layer: Any, rules: Rules = RULES) -> tuple[str, ...]:
    """Returns the names of the norms in which a layer has a bound.

    Args:
        layer: A layer or operation. Its weights are not read.
        rules: The rules of users.

    Raises:
        ValueError: If no bound is known. The message names the layer and the
            reason.
    """
    why = why_unbounded(layer, rules)
    if why is not None:
        raise ValueError(
            f"No Lipschitz bound is known for layer '{layer.name}' of type "
            f"`{type(layer).__name__}`{why}. Use a layer of "
            "`keras_lip.layers` instead, or register a bound with "
            "`@keras_lip.bounds.propagate_bound.register`."
        )
    known = set(rules.find(layer))
    if not known and type(layer) in _freezers:
        known.update(_freezers[type(layer)][1])
    elif find_provider(layer) is not None:
        known.update(getattr(layer, "norms", ("l2",)))
    return tuple(norm for norm in NORMS if norm in known)


def check_bounded(layer: Any, norm: str, rules: Rules = RULES) -> None:
    """Raises an error if a layer has no known bound in a norm."""
    norms = find_norms(layer, rules)
    if check_norm(norm) not in norms:
        raise ValueError(
            f"Layer '{layer.name}' of type `{type(layer).__name__}` has a "
            f"Lipschitz bound in the norm {' or '.join(norms)}. Received: "
            f"norm={norm!r}"
        )


def why_unbounded(layer: Any, rules: Rules = RULES) -> str | None:
    """Says why a layer has no known bound, or returns `None`."""
    for name in _replaced_methods(layer):
        return f", whose `{name}` was replaced on the instance"
    if is_hooked(layer):
        return ", which has hooks"
    is_layer = isinstance(layer, keras.layers.Layer)
    if is_layer:
        why = _why_inexact(layer) or _why_changed(layer)
        if why is not None:
            return why
    if type(layer) in _freezers or rules.find(layer):
        return None
    if not is_layer:
        return " (an operation of `keras.ops`)"
    provider = find_provider(layer)
    if provider is None:
        if type(layer).__module__.startswith("keras."):
            reason = REASONS.get(type(layer).__name__)
            if reason is not None:
                return f": {reason}"
        return (
            ": a rule covers one exact class, and none is registered for this "
            "one"
        )
    return _why_unknown(layer, provider)


def _why_unknown(layer: Any, provider: str) -> str | None:
    """Names an override in a subclass that its inherited bound ignores."""
    for cls in type(layer).__mro__:
        if provider in vars(cls):
            return _why_mixed(layer, cls)
        if cls.__module__.startswith("keras_lip.layers."):
            # A class of this library: the inherited methods allow for it.
            continue
        for name in vars(cls):
            if name not in _HARMLESS:
                return (
                    f", which overrides `{name}` but not `lipschitz_bound` or "
                    "`freeze`"
                )
    return None


def _why_mixed(layer: Any, base: type) -> str | None:
    """Names an override of a class that stands behind the bounded one.

    As in `class Mine(OrthogonalDense, Mixin)`, where the mixin overrides
    methods of `keras.layers.Layer`.
    """
    classes = type(layer).__mro__
    for index, cls in enumerate(classes):
        if cls.__module__.split(".")[0] in _LIBRARIES or issubclass(base, cls):
            continue
        for name in vars(cls):
            overrides = any(name in vars(each) for each in classes[index + 1 :])
            hidden = any(name in vars(each) for each in classes[:index])
            if name not in _HARMLESS and overrides and not hidden:
                return f", whose base class `{cls.__name__}` overrides `{name}`"
    return None


def _replaced_methods(layer: Any) -> list[str]:
    """Returns the methods that a layer has on the instance, not the class."""
    # Keras puts wrappers of these two there itself.
    own = vars(layer).keys() - {"build", "quantize"}
    return sorted(
        name for name in own if callable(getattr(type(layer), name, None))
    )


def _why_changed(layer: keras.layers.Layer) -> str | None:
    """Says which part of a layer was changed, at any depth."""
    for part in layer._flatten_layers(include_self=False):
        for name in _replaced_methods(part):
            return f", because `{name}` of its part '{part.name}' was replaced"
        if is_hooked(part):
            return f", because its part '{part.name}' has hooks"
    return None


def _why_inexact(layer: keras.layers.Layer) -> str | None:
    """Says why a layer does not compute with its stored weights."""
    if layer.quantization_mode is not None:
        return ", which is quantized"
    if not keras.backend.is_float_dtype(layer.compute_dtype):
        return f", which rounds its inputs to {layer.compute_dtype}"
    narrow = is_narrow(layer.compute_dtype)
    if narrow and getattr(layer, "lora_enabled", False):
        return f", which adds LoRA weights in {layer.compute_dtype}"
    return None


def _depth(layer: Any, method: str) -> float:
    """Returns the depth of a method in the class hierarchy of a layer."""
    classes = type(layer).__mro__
    depths = (i for i, cls in enumerate(classes) if method in vars(cls))
    return next(depths, math.inf)
