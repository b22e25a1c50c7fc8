"""Proven upper bounds on Lipschitz constants of models."""

import keras

from keras_lip.bounds.common_norm import common_norm
from keras_lip.program import freeze


def lipschitz_bound(model: keras.Model, norm: str | None = None) -> float:
    """Bounds a model's Lipschitz constant from above.

    Every layer is measured on the weights that now run, in float64 and rounded
    up; branches are joined as the graph joins them. The bound is that of the
    model at inference, on inputs of the shape that it is built for.

    Args:
        model: A built functional, sequential or subclassed model with one input
            and one output; it may nest other models. The `call` of a subclassed
            model is traced on symbolic tensors.
        norm: `"l2"` or `"linf"`, of one sample, input and output alike.
            Defaults to the norm that the guarantees of all layers hold in,
            l2 where they hold in both.

    Returns:
        Float. `|f(x) - f(y)| <= lipschitz_bound(model) * |x - y|` for all
        inputs `x` and `y`. It is infinite if a weight is not finite.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If the model is not built, has several inputs or outputs,
            takes integers, holds a layer for which no bound is known, or mixes
            layers with guarantees in different norms.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.ReLU()])
    >>> keras_lip.bounds.lipschitz_bound(model)
    1.0

    Reference:

    - [Szegedy et al., 2013](https://arxiv.org/abs/1312.6199), section 4.3, for
      the product of layer bounds.
    """
    return freeze(model).bounds(common_norm(model, norm)).output
