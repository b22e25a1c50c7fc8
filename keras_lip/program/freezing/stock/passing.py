"""Layers that return their input, or apply another layer."""

from typing import Any

from keras import layers

from keras_lip.program.builder import Wire
from keras_lip.program.freezing.checks import refuse_masks
from keras_lip.program.freezing.checks import unknown_layer
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.nodes.mapped import Mapped


# At inference these layers return their input unchanged.
@register_freezer(
    *(
        getattr(layers, name)
        for name in (
            "ActivityRegularization",
            "AlphaDropout",
            "Dropout",
            "GaussianDropout",
            "GaussianNoise",
            "Identity",
            "RandomBrightness",
            "RandomContrast",
            "RandomErasing",
            "RandomFlip",
            "RandomHue",
            "RandomRotation",
            "RandomSaturation",
            "RandomShear",
            "RandomTranslation",
            "RandomZoom",
            "SpatialDropout1D",
            "SpatialDropout2D",
            "SpatialDropout3D",
        )
        if hasattr(layers, name)
    )
)
def _(layer: Any, x: Wire) -> Wire:
    return x


@register_freezer(layers.Masking)
def _(layer: Any, x: Wire) -> Wire:
    if layer.mask_value != 0:
        raise ValueError(
            f"Layer '{layer.name}' sets entries equal to its `mask_value` to "
            "zero, so it is discontinuous unless that is zero. Received: "
            f"mask_value={layer.mask_value}"
        )
    # The outputs are the inputs, but later layers may use the mask.
    x.builder.is_masked = True
    return x


@register_freezer(layers.TimeDistributed)
def _(layer: Any, x: Wire) -> Wire:
    refuse_masks(layer, x)
    if x.shape is None:
        raise unknown_layer(layer, "the shape of its input is not known")
    inner = x.builder.inside([tuple(x.shape[1:])], [layer.layer.compute_dtype])
    return x.then(Mapped(inner.finish(inner.inputs[0].through(layer.layer))))
