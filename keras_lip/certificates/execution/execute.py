"""The rules by which executions pass through layers, one for each class."""

from collections.abc import Callable
from typing import Any
from typing import NoReturn

from keras_lip.certificates.execution.arithmetic import Arithmetic

# A function of a stock layer or operation, of the arguments of its call with
# executions for tensors, and of a `Machine`. It returns one execution, or a
# list with one for each output.
Rule = Callable[..., Any]


class Machine:
    """The arithmetic of an execution, and constants that are measured once.

    Args:
        arithmetic: An `Arithmetic`.
    """

    def __init__(self, arithmetic: Arithmetic) -> None:
        self.arithmetic = arithmetic
        self._measured: dict[int, tuple[Any, Any]] = {}

    def measure(self, layer: Any, function: Callable[[Any], Any]) -> Any:
        """Returns `function(layer)`, computed the first time."""
        if id(layer) not in self._measured:
            # The layer is kept, and with it its identity.
            self._measured[id(layer)] = (layer, function(layer))
        return self._measured[id(layer)][1]

    def check_dtype(self, layer: Any) -> None:
        """Refuses a layer that rounds otherwise than the arithmetic.

        Raises:
            ValueError: If so, naming the layer.
        """
        # What is made in float32 runs in float64 as well, with all its weights.
        known = ("float32", self.arithmetic.dtype)
        dtype = getattr(layer, "compute_dtype", known[0])
        if dtype not in known:
            refuse(layer, f"it computes in {dtype}", self)


class Execute:
    """Passes executions through a layer, by the rule of its exact class.

    Called as a function of:

    Args:
        layer: A built layer of Keras, or a `keras.Operation`.
        args: Tuple of the arguments of its call.
        machine: A `Machine`.

    Returns:
        An `Execution`, or a list with one for each output.

    Raises:
        ValueError: If there is no rule, naming the layer.
    """

    def __init__(self) -> None:
        self._rules: dict[type, Rule] = {}

    def register(self, *classes: type) -> Callable[[Rule], Rule]:
        """Registers a rule for exactly the given classes."""

        def register(rule: Rule) -> Rule:
            self._rules.update(dict.fromkeys(classes, rule))
            return rule

        return register

    def __call__(
        self, layer: Any, args: tuple[Any, ...], machine: Machine
    ) -> Any:
        rule = self._rules.get(type(layer))
        if rule is None:
            refuse(layer, "its roundings are not accounted for", machine)
        machine.check_dtype(layer)
        if getattr(layer, "quantization_mode", None) is not None:
            refuse(layer, "it is quantized", machine)
        if getattr(layer, "lora_enabled", False):
            refuse(layer, "its LoRA weights are added at run time", machine)
        return rule(layer, args, machine)


execute = Execute()


def refuse(layer: Any, why: str, machine: Machine) -> NoReturn:
    """Refuses a layer, with the reason.

    Raises:
        ValueError: Always.
    """
    raise ValueError(
        f"semantics={machine.arithmetic.dtype!r} is not known for layer "
        f"'{layer.name}' of type `{type(layer).__name__}`: {why}. Use "
        "semantics='real'."
    )
