"""Rejects layers that have no Lipschitz counterpart."""

from typing import Any

import keras
import numpy as np

from keras_lip.models.importing.conversion_options import CONVOLUTIONS
from keras_lip.models.importing.conversion_options import Options
from keras_lip.models.importing.survey import KERNEL_LAYERS
from keras_lip.models.importing.survey import Survey
from keras_lip.program.freezing.activations import check_activation
from keras_lip.program.freezing.registry import find_norms
from keras_lip.read_weight import read_weight

# These layers have a known bound, but it depends on their trained kernels and
# may be large.
_WITHOUT_COUNTERPART = (
    keras.layers.Conv1DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)


def check_layers(survey: Survey, options: Options) -> None:
    """Raises an error that names all layers that cannot be converted.

    Args:
        survey: The `Survey` of the model.
        options: The `Options` of the conversion.

    Raises:
        ValueError: If there is such a layer. The message contains the reasons.
    """
    reasons = []
    for layer in survey.layers:
        why = _why_refused(layer, survey, options)
        if why is not None:
            kind = type(layer).__name__
            reasons.append(f"\n- '{layer.name}' of type `{kind}`: {why}")
    if reasons:
        raise ValueError(
            "These layers have no Lipschitz counterpart. Replace them in the "
            "stock model and train it before the conversion:" + "".join(reasons)
        )


def _why_refused(layer: Any, survey: Survey, options: Options) -> str | None:
    """Says why a layer cannot be converted, or returns `None`."""
    if id(layer) in survey.dropped:
        return None
    try:
        known = find_norms(layer)
        if type(layer) is keras.layers.Activation:
            check_activation(layer.activation)
        if type(layer) in KERNEL_LAYERS and id(layer) not in survey.bare:
            check_activation(layer.activation)
    except ValueError as error:
        return str(error)
    if type(layer) in _WITHOUT_COUNTERPART:
        return "no layer of `keras_lip.layers` has a kernel of its shape."
    if "l2" not in known:
        return f"its bound holds in {' or '.join(known)}, not in l2."
    if not all(
        np.isfinite(read_weight(weight)).all()
        for weight in getattr(layer, "weights", [])
    ):
        return "its weights are not finite."
    if type(layer) in KERNEL_LAYERS[1:]:
        return _why_no_convolution(layer, options.convolution)
    return None


def _why_no_convolution(layer: Any, name: str) -> str | None:
    makers = {
        known
        for known, classes in CONVOLUTIONS.items()
        if type(layer) in classes
    }
    if name not in makers:
        return (
            f"{name!r} has no such layer. Pass a `convolution` of "
            f"{sorted(makers)}."
        )
    if layer.padding == "causal":
        return 'its padding is "causal". Use "same" or "valid".'
    if getattr(layer, "output_padding", None) is not None:
        return "it has an `output_padding`."
    if name in ("ossn", "svcm") and layer.groups > 1:
        return f"{name!r} has no groups. Pass another `convolution`."
    return None
