"""Rebuilds stock models from Lipschitz layers."""

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

    The trained kernels become the initial free kernels of the new model. The
    new model has a proven bound from the start and should be trained further:
    its outputs differ from those of the stock model because constraints change
    the kernels. The returned table shows how much.

    - A `Dense` becomes an `OrthogonalDense`, or a `LipschitzDense` if the
      parametrization is not orthogonal. A last `Dense` becomes a
      `UnitNormDense`.
    - `Conv1D`, `Conv2D` and `Conv2DTranspose` become the convolution named by
      `convolution`, with zero padding. Their fused activations become separate
      layers.
    - A `BatchNormalization` right after such a layer is folded into its kernel
      and bias, with the statistics used at inference.
    - A softmax or sigmoid at the end is dropped, because certificates are for
      logits.
    - Other layers with a known bound are kept, and their bounds multiply the
      model's bound: other activations, pooling, merging, reshaping, dropout,
      batch normalization elsewhere. Further training may change these bounds.

    **Scales.** A kernel of norm 10 is replaced by one of norm 1, so all later
    values are 10 times smaller. Biases are divided by the same factor. Where
    branches with different scales meet, a `LipschitzScale` shrinks the larger
    ones. So if all kernels are orthogonal up to a factor and all activations
    are positively homogeneous (ReLU, MaxMin), the outputs are those of the
    stock model divided by one positive number, `Conversion.scale`, and all
    predictions are the same. With `parametrization="spectral"`,
    `convolution="ossn"` and `unit_norm_head=False` only the norms of the
    kernels change: the result is the normalized stock model. Its margins tend
    to be small. The orthogonal defaults change the kernels more, but preserve
    gradient norms.

    Args:
        model: A built functional or sequential model, or a subclassed one whose
            `call` can be traced. It is not modified.
        convolution: `"rko"`, `"aol"`, or for 2D convolutions `"ossn"` or
            `"svcm"`. The free kernels of other convolutions have another shape
            than the trained kernel. Defaults to `"rko"`.
        parametrization: Name, config or instance of a
            `keras_lip.parametrizations.Parametrization`, for dense layers.
            `"bjorck"` stays close to the trained kernel; `"cayley"` and
            `"exponential"` do not. Defaults to `"bjorck"`.
        activation: `"keep"`, or `"max_min"` to replace every activation on an
            even number of channels by `MaxMin`. `MaxMin` preserves gradient
            norms, but computes another function than the replaced activation.
            Defaults to `"keep"`.
        unit_norm_head: Boolean. Whether a last `Dense` becomes a
            `UnitNormDense`, which gives the tightest certified margins between
            classes. Otherwise it is converted like other dense layers. Defaults
            to `True`.

    Returns:
        A `Conversion`: the uncompiled `model`, and a table of the layers.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If an argument is unknown, the model is not built, cannot be
            traced, or has several inputs or outputs, or layers have no
            counterpart. The message names all of these layers.

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
    # This also rejects models with several inputs or outputs.
    bound = lipschitz_bound(converted)
    return Conversion(converted, tuple(converter.rows), scale, bound)
