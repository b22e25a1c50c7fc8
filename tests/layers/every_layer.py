"""One instance of every layer, on small inputs."""

import keras

from keras_lip import layers

IMAGES = (4, 4, 4)
VECTORS = (4,)


def make_expansion(**kwargs):
    blocks = [layers.ConvexPotentialDense(3, **kwargs) for _ in range(2)]
    return layers.ConvexPotentialExpansion(blocks, **kwargs)


def make_stack(**kwargs):
    block = [layers.ConvexPotentialDense(3), layers.MaxMin()]
    kwargs.setdefault("dtype", keras.config.dtype_policy())
    return layers.LayerStack(block, 2, **kwargs)


# Function of the arguments of `keras.layers.Layer`, by name, with the shape of
# one sample. `ConvexAdd` and `LipschitzConcatenate` take two of them.
WEIGHTED = {
    "AOLConv1D": (lambda **k: layers.AOLConv1D(4, 3, **k), (4, 4)),
    "AOLConv2D": (lambda **k: layers.AOLConv2D(4, 3, **k), IMAGES),
    "AOLConv2DTranspose": (
        lambda **k: layers.AOLConv2DTranspose(4, 3, strides=2, **k),
        IMAGES,
    ),
    "BCOPConv1D": (lambda **k: layers.BCOPConv1D(4, 3, **k), (4, 4)),
    "BCOPConv2D": (lambda **k: layers.BCOPConv2D(4, 3, **k), IMAGES),
    "BCOPConv2DTranspose": (
        lambda **k: layers.BCOPConv2DTranspose(4, 2, strides=2, **k),
        IMAGES,
    ),
    "BatchCentering": (layers.BatchCentering, VECTORS),
    "CayleyConv2D": (lambda **k: layers.CayleyConv2D(4, 3, **k), IMAGES),
    "ConvexAdd": (layers.ConvexAdd, VECTORS),
    "ConvexPotentialConv2D": (
        lambda **k: layers.ConvexPotentialConv2D(4, 3, **k),
        IMAGES,
    ),
    "ConvexPotentialDense": (
        lambda **k: layers.ConvexPotentialDense(3, **k),
        VECTORS,
    ),
    "ConvexPotentialExpansion": (make_expansion, VECTORS),
    "CurvatureHead": (lambda **k: layers.CurvatureHead(4, 3, **k), VECTORS),
    "Householder": (layers.Householder, VECTORS),
    "LOTConv2D": (lambda **k: layers.LOTConv2D(4, 3, **k), IMAGES),
    "LayerStack": (make_stack, VECTORS),
    "LinfDense": (lambda **k: layers.LinfDense(4, **k), VECTORS),
    "LipschitzDense": (lambda **k: layers.LipschitzDense(4, **k), VECTORS),
    "OSSNConv2D": (lambda **k: layers.OSSNConv2D(4, 3, **k), IMAGES),
    "OrthogonalDense": (lambda **k: layers.OrthogonalDense(4, **k), VECTORS),
    "ProjectionPooling": (layers.ProjectionPooling, VECTORS),
    "RKOConv1D": (lambda **k: layers.RKOConv1D(4, 3, **k), (4, 4)),
    "RKOConv2D": (lambda **k: layers.RKOConv2D(4, 3, **k), IMAGES),
    "RKOConv2DTranspose": (
        lambda **k: layers.RKOConv2DTranspose(4, 3, strides=2, **k),
        IMAGES,
    ),
    "SLLConv2D": (lambda **k: layers.SLLConv2D(4, 3, **k), IMAGES),
    "SLLDense": (lambda **k: layers.SLLDense(3, **k), VECTORS),
    "SOCConv2D": (lambda **k: layers.SOCConv2D(4, 3, **k), IMAGES),
    "SVCMConv2D": (lambda **k: layers.SVCMConv2D(4, 3, **k), IMAGES),
    "SandwichDense": (lambda **k: layers.SandwichDense(4, **k), VECTORS),
    "SkewFlowConv2D": (lambda **k: layers.SkewFlowConv2D(4, 3, **k), IMAGES),
    "SkewFlowDense": (lambda **k: layers.SkewFlowDense(3, **k), VECTORS),
    "UnitNormDense": (lambda **k: layers.UnitNormDense(4, **k), VECTORS),
}

WEIGHTLESS = {
    "AbsoluteValue": (layers.AbsoluteValue, VECTORS),
    "FullSort": (layers.FullSort, VECTORS),
    "GlobalL2NormPooling2D": (layers.GlobalL2NormPooling2D, IMAGES),
    "GlobalScaledAveragePooling2D": (
        layers.GlobalScaledAveragePooling2D,
        IMAGES,
    ),
    "GroupSort": (layers.GroupSort, VECTORS),
    "InvertibleDownsampling2D": (layers.InvertibleDownsampling2D, IMAGES),
    "InvertibleUpsampling2D": (layers.InvertibleUpsampling2D, IMAGES),
    "L2NormPooling2D": (layers.L2NormPooling2D, IMAGES),
    "LayerCentering": (layers.LayerCentering, VECTORS),
    "LipschitzConcatenate": (layers.LipschitzConcatenate, VECTORS),
    "LipschitzScale": (lambda **k: layers.LipschitzScale(0.5, **k), VECTORS),
    "MaxChannelPooling": (layers.MaxChannelPooling, VECTORS),
    "MaxMin": (layers.MaxMin, VECTORS),
    "PadChannels": (lambda **k: layers.PadChannels(6, **k), VECTORS),
    "ScaledAveragePooling2D": (layers.ScaledAveragePooling2D, IMAGES),
    "TruncateChannels": (lambda **k: layers.TruncateChannels(2, **k), VECTORS),
}

MERGING = ("ConvexAdd", "LipschitzConcatenate")

EVERY_LAYER = {**WEIGHTED, **WEIGHTLESS}


def connect(name, layer, inputs):
    """Calls a layer of this table on one tensor."""
    if name in MERGING:
        return layer([inputs, layers.AbsoluteValue()(inputs)])
    return layer(inputs)


def names_of_layers():
    """Returns the names of all public layers."""
    return sorted(
        name
        for name, value in vars(layers).items()
        if isinstance(value, type)
        and issubclass(value, layers.LipschitzLayer)
        and value is not layers.LipschitzLayer
    )
