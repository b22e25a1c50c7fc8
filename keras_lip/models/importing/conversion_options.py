"""The options of a conversion from stock Keras layers."""

import dataclasses
from typing import Any

import keras

from keras_lip.layers import AOLConv1D
from keras_lip.layers import AOLConv2D
from keras_lip.layers import AOLConv2DTranspose
from keras_lip.layers import OSSNConv2D
from keras_lip.layers import RKOConv1D
from keras_lip.layers import RKOConv2D
from keras_lip.layers import RKOConv2DTranspose
from keras_lip.layers import SVCMConv2D
from keras_lip.layers.registry import CONVOLUTIONS as BY_METHOD
from keras_lip.layers.registry import RESIDUAL_BLOCKS
from keras_lip.layers.registry import current_name
from keras_lip.parametrizations import BlockReflector
from keras_lip.parametrizations import Parametrization
from keras_lip.validation import check_known

# Convolutions whose free kernel has the same shape as the stock kernel.
CONVOLUTIONS: dict[str, dict[type, Any]] = {
    "aol": {
        keras.layers.Conv1D: AOLConv1D,
        keras.layers.Conv2D: AOLConv2D,
        keras.layers.Conv2DTranspose: AOLConv2DTranspose,
    },
    "ossn": {keras.layers.Conv2D: OSSNConv2D},
    "rko": {
        keras.layers.Conv1D: RKOConv1D,
        keras.layers.Conv2D: RKOConv2D,
        keras.layers.Conv2DTranspose: RKOConv2DTranspose,
    },
    "svcm": {keras.layers.Conv2D: SVCMConv2D},
}

_OTHER_CONVOLUTIONS = (
    BY_METHOD.keys() | RESIDUAL_BLOCKS.keys()
) - CONVOLUTIONS.keys()


@dataclasses.dataclass(frozen=True)
class Options:
    """The validated arguments of `keras_lip.models.from_keras`.

    Attributes:
        convolution: Name of the convolution.
        parametrization: The `keras_lip.parametrizations.Parametrization` of
            dense layers.
        activation: `"keep"` or `"max_min"`.
        unit_norm_head: Boolean. Whether a last dense layer becomes a
            `UnitNormDense`.
    """

    convolution: str
    parametrization: Parametrization
    activation: str
    unit_norm_head: bool

    def __post_init__(self) -> None:
        if current_name(self.convolution) in _OTHER_CONVOLUTIONS:
            raise ValueError(
                f"A trained kernel cannot initialize a {self.convolution!r} "
                "convolution, whose free weights have another shape. Pass one "
                f"of {sorted(CONVOLUTIONS)}. Received: "
                f"convolution={self.convolution!r}"
            )
        check_known("convolution", self.convolution, CONVOLUTIONS)
        if isinstance(self.parametrization, BlockReflector):
            raise ValueError(
                "A trained kernel cannot start a block reflector, because the "
                "image is far from the kernel. Pass another parametrization, "
                "such as 'cayley'. Received: "
                f"parametrization={self.parametrization!r}"
            )
        activation = current_name(self.activation)
        check_known("activation", activation, ("keep", "max_min"))
        object.__setattr__(self, "activation", activation)
