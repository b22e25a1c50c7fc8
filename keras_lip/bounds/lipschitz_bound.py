"""Proven upper bounds on Lipschitz constants of models."""

import keras

from keras_lip.bounds.common_norm import common_norm
from keras_lip.program import freeze


def lipschitz_bound(model: keras.Model, norm: str | None = None) -> float:
    """Returns a proven upper bound on a model's Lipschitz constant.

    The bound of every layer is computed from its current weights, in float64,
    and rounded up. The bounds of layers are combined along the graph. The bound
    holds for the model at inference, for inputs of the shape that it is built
    for.

    Args:
        model: A built functional, sequential or subclassed model with one input
            and one output; it may contain other models. The `call` of a
            subclassed model is traced on symbolic tensors.
        norm: `"l2"` or `"linf"`. Norm of one sample, for both inputs and
            outputs. Defaults to `None`, for the norm in which all layers have a
            bound, or l2 if they have bounds in both.

    Returns:
        Float. `|f(x) - f(y)| <= lipschitz_bound(model) * |x - y|` for all
        inputs `x` and `y`. It is infinite if a weight is not finite.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If the model is not built, has several inputs or outputs,
            takes integers, contains a layer without a known bound, or mixes
            layers with bounds in different norms.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.ReLU()])
    >>> keras_lip.bounds.lipschitz_bound(model)
    1.0

    Reference:

    - [Szegedy et al., 2013](https://arxiv.org/abs/1312.6199), section 4.3, for
      the product of layer bounds.
    """
    return freeze(model).bounds(common_norm(model, norm)).output
