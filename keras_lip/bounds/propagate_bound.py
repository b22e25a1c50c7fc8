"""Bounds of single layers, and the rules of users."""

from collections.abc import Callable
from collections.abc import Iterable
from typing import Any
from typing import TypeVar

from keras_lip.program import freeze_layer
from keras_lip.program.freezing.registry import RULES
from keras_lip.program.freezing.registry import check_bounded
from keras_lip.program.node import SampleShape

_Rule = TypeVar("_Rule", bound=Callable[[Any, Any], float])


class PropagateBound:
    """Bounds a layer's output, given the bounds of its inputs.

    A layer of Keras is known by its exact class: a subclass may compute
    anything. A layer of your own has a bound if it implements
    `lipschitz_bound()`, which holds in the norms that its attribute `norms`
    lists, or in l2 if there is none; if it is a `keras_lip.layers.
    LipschitzLayer` that implements `freeze`; or if a rule is registered for
    exactly its class. Called as a function of:

    Args:
        layer: A built layer.
        inputs: Float, or a list of floats if the layer takes several inputs.
            Each is the Lipschitz bound, in the norm of one sample, from the
            model's input to that input.
        norm: `"l2"` or `"linf"`. Defaults to `"l2"`.

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

    def register(
        self, *classes: type, norms: Iterable[str] = ("l2",)
    ) -> Callable[[_Rule], _Rule]:
        """Registers a rule for exactly the given classes.

        A rule is asked for the bound of outputs when inputs move by one each.
        What the layer computes is read from its `call`, if that is made of
        layers and operations that are known; if it is not, the layer is
        bounded, but a model that holds it is not certified.

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
        return RULES.register(*classes, norms=norms)

    def __call__(self, layer: Any, inputs: Any, norm: str = "l2") -> float:
        check_bounded(layer, norm)
        bounds = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        unknown: list[SampleShape] = [None] * len(bounds)
        program = freeze_layer(layer, unknown if len(bounds) > 1 else None)
        return program.bounds(norm, bounds).output


propagate_bound = PropagateBound()
