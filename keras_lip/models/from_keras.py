"""Stock models rebuilt from Lipschitz layers."""

import keras

from keras_lip import parametrizations
from keras_lip.bounds.lipschitz_bound import lipschitz_bound
from keras_lip.models.importing.check_layers import check_layers
from keras_lip.models.importing.conversion import Conversion
from keras_lip.models.importing.conversion_options import Options
from keras_lip.models.importing.converter import Converter
from keras_lip.models.importing.survey import Survey
from keras_lip.parametrizations import Parametrization
from keras_lip.types import Config


def from_keras(
    model: keras.Model,
    convolution: str = "rko",
    parametrization: str | Config | Parametrization = "bjorck",
    activation: str = "keep",
    unit_norm_head: bool = True,
) -> Conversion:
    """Rebuilds a stock Keras model from Lipschitz layers.

    The trained kernels are the initial free kernels of the new model. It has a
    proven bound from the start, and is meant to be trained further: what it
    computes differs from the stock model by as far as its kernels moved, which
    the table says.

    - A `Dense` becomes an `OrthogonalDense`, or a `LipschitzDense` with a
      parametrization that is not orthogonal; a last one a `UnitNormDense`.
    - `Conv1D`, `Conv2D` and `Conv2DTranspose` become the convolution that is
      asked for, padded with zeros. Activations of such layers become layers.
    - A `BatchNormalization` right after such a layer is folded into its kernel
      and bias, as it is at inference.
    - A softmax or sigmoid at the end is dropped: what is certified are logits.
    - What else has a bound of its own is kept, and its bound counts: other
      activations, pooling, merging, reshaping, dropout, batch normalization
      elsewhere. In further training nothing holds its scale at one.

    **Scales.** A kernel of norm 10 becomes one of norm 1, and shrinks all that
    follows. Biases are divided by as much, and where branches of different
    scales meet, a `LipschitzScale` shrinks those that are too large. So where
    kernels are orthogonal already, up to a factor, and activations positively
    homogeneous (ReLU, MaxMin), the outputs are those of the stock model over
    one positive number, `Conversion.scale`, and every answer is the same.
    With `parametrization="spectral"`, `convolution="ossn"` and
    `unit_norm_head=False` no kernel moves but for its norm: that is the stock
    model, normalized. Its margins tend to be small; the orthogonal defaults
    start further away, and preserve gradients.

    Args:
        model: A built functional or sequential model, or a subclassed one whose
            `call` can be traced. It is left as it is.
        convolution: `"rko"`, `"aol"`, or of two-dimensional ones `"ossn"` or
            `"svcm"`. Other convolutions have no free kernel of the shape of a
            trained one. Defaults to `"rko"`.
        parametrization: Name, config or instance of a
            `keras_lip.parametrizations.Parametrization`, for dense layers.
            `"bjorck"` stays close to the trained kernel; `"cayley"` and
            `"exponential"` do not. Defaults to `"bjorck"`.
        activation: `"keep"`, or `"max_min"` for `MaxMin` in the place of every
            activation between an even number of channels. `MaxMin` preserves
            gradients, and computes something else than what it replaces.
            Defaults to `"keep"`.
        unit_norm_head: Boolean. Whether a last `Dense` becomes a
            `UnitNormDense`, with which margins between classes are certified
            without loss, rather than a layer like the others. Defaults to
            `True`.

    Returns:
        A `Conversion`: the `model`, which is not compiled, and the table.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If an argument is unknown, the model is not built, cannot be
            traced, or has several inputs or outputs, or if layers have no
            counterpart; all of these are named.

    Example:

    >>> stock = keras.Sequential([
    ...     keras.Input((8,)),
    ...     keras.layers.Dense(16, activation="relu"),
    ...     keras.layers.Dense(3, activation="softmax"),
    ... ])
    >>> conversion = keras_lip.models.from_keras(stock)
    >>> conversion.layers[0].counterpart, conversion.layers[2].counterpart
    ('OrthogonalDense', 'UnitNormDense')

    Reference:

    - [Anil et al., 2019](https://arxiv.org/abs/1811.05381), section 4.2, for
      the projection of kernels
    """
    options = Options(
        convolution,
        parametrizations.get(parametrization),
        activation,
        unit_norm_head,
    )
    survey = Survey(model)
    check_layers(survey, options)
    converter = Converter(survey, options)
    converted, (scale, *_) = converter.convert(model)
    # It refuses several inputs, and several outputs.
    bound = lipschitz_bound(converted)
    return Conversion(converted, tuple(converter.rows), scale, bound)
