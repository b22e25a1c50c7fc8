"""Bounds of single layers, and rules registered by users."""

from collections.abc import Callable
from collections.abc import Iterable
from typing import Any
from typing import TypeVar

from keras_lip.program import freeze_layer
from keras_lip.program.freezing.freeze import built_shapes
from keras_lip.program.freezing.registry import RULES
from keras_lip.program.freezing.registry import check_bounded

_Rule = TypeVar("_Rule", bound=Callable[[Any, Any], float])


class PropagateBound:
    """Bounds a layer's output, given the bounds of its inputs.

    A rule for a Keras layer applies to its exact class, because a subclass may
    compute anything. Your own layer has a bound if it implements
    `lipschitz_bound()`, which holds in the norms of its attribute `norms`, or
    in l2 if there is none; if it is a `keras_lip.layers.LipschitzLayer` that
    implements `freeze`; or if a rule is registered for exactly its class. Call
    it with these arguments:

    Args:
        layer: A built layer. Its bound holds for inputs of the shapes that it
            was built with.
        inputs: Float, or a list of floats if the layer takes several inputs.
            Each is the Lipschitz bound, in the norm of one sample, from the
            model's input to that input.
        norm: `"l2"` or `"linf"`. Defaults to `"l2"`.

    Returns:
        Float. The Lipschitz bound from the model's input to the layer's output.
        It is infinite if a weight is not finite.

    Raises:
        ValueError: If no bound is known in this norm. The message names the
            layer.

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

        The rule is called with input bounds of one. The layer's computation is
        read from its `call`, if that consists of known layers and operations.
        Otherwise the layer has a bound, but a model that contains it cannot be
        certified. The rule itself is a claim: nothing proves it. Audits,
        reports and exported certificates name the layers that they trust in.

        Args:
            *classes: Classes of layers. Their subclasses are not included.
            norms: Sequence of the norms in which the rule holds, of `"l2"` and
                `"linf"`.

        Returns:
            A decorator of functions `(layer, inputs)` that return a float.

        Raises:
            TypeError: If an argument is not a class.
            ValueError: If a norm is unknown.
        """
        return RULES.register(*classes, norms=norms)

    def __call__(self, layer: Any, inputs: Any, norm: str = "l2") -> float:
        check_bounded(layer, norm)
        bounds = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        shapes = built_shapes(layer)
        if len(shapes) != len(bounds):
            shapes = [None] * len(bounds)
        program = freeze_layer(layer, shapes)
        return program.bounds(norm, bounds, for_any_size=True).output


propagate_bound = PropagateBound()
