"""Proven lower bounds on how much models contract distances."""

import keras

from keras_lip.bounds.common_norm import common_norm
from keras_lip.program import freeze
from keras_lip.program.contracting import bound_contraction


def contraction_bound(model: keras.Model, norm: str | None = None) -> float:
    """Returns a proven lower bound on how much a model contracts distances.

    It is the counterpart of `lipschitz_bound`. A positive bound proves that the
    model is injective and that its inverse on the set of outputs has the
    Lipschitz constant `1 / contraction_bound(model)`.

    A bound is known, in the l2 norm, for

    - dense layers with at least as many outputs as inputs: the smallest
      singular value, one for `OrthogonalDense`;
    - circular convolutions with at least as many outputs as inputs, if they are
      nearly orthogonal, and `SOCConv2D` with as many filters as channels;
    - convex potential blocks with a step below `1 / |W|^2`;

    and in both norms for

    - layers that move all entries or add zeros: reshaping, invertible down- and
      upsampling, circular shifts, padding, concatenations of all parts;
    - translations, scalings and leaky rectifiers: the smallest slope;
    - sums `x + f(x)`: one minus the Lipschitz bound of `f`, as in
      `keras_lip.layers.InvertibleResidual`.

    The bounds of successive layers are multiplied. Sorting, absolute values and
    reflections preserve gradient norms, but map different inputs to one output:
    for a model with `GroupSort`, `MaxMin` or `Householder` the bound is zero.

    All numbers are those of the weights used at inference, in float64, rounded
    down. Layers that compute in 16 bits have no bound.

    Args:
        model: A built model with one input and one output, as in
            `lipschitz_bound`.
        norm: `"l2"` or `"linf"`. Norm of one sample, for both inputs and
            outputs. Defaults to `None`, for the norm in which all layers have a
            bound, or l2 if they have bounds in both.

    Returns:
        Float, at least zero. `|f(x) - f(y)| >= contraction_bound(model) * |x -
        y|` for all inputs `x` and `y`. It is `0.0` if nothing is known.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If the model is not built, has several inputs or outputs,
            takes integers, contains a layer without a known Lipschitz bound, or
            mixes layers with bounds in different norms.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), keras.layers.Rescaling(4.0)]
    ... )
    >>> round(keras_lip.bounds.contraction_bound(model), 3)
    4.0

    Reference:

    - [Behrmann et al., 2019](https://arxiv.org/abs/1811.00995), Theorem 1 and
      Lemma 2, for residual blocks
    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), for the two
      sides of the bound of a flow
    """
    return bound_contraction(freeze(model), common_norm(model, norm))
