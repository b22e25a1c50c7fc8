"""One case of every layer: the tests of what all layers keep are of these."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from keras_lip import layers

IMAGES = (4, 4, 4)
SIGNALS = (4, 4)
VECTORS = (4,)
# Samples of another number of channels than what layers of this table make.
UNEVEN = {IMAGES: (4, 4, 2), SIGNALS: (4, 2), VECTORS: (6,)}


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer on small inputs, and what is promised of it.

    Args:
        layer_cls: Class of the layer.
        arguments: Tuple of its arguments by place.
        sample: Shape of one sample.
        options: Dict of its arguments by name.
        maker: Function that takes the place of the class and its arguments, of
            the arguments of `keras.layers.Layer` by name.
        other_sample: Shape of one sample with other channels. Defaults to that
            of `UNEVEN`.
        promised: Bound for all weights, up to roundings, or `None` if it
            depends on them.
        estimated: Boolean. The norm is estimated from below: the promise is
            kept up to a tenth, and a proven scale is another than that which
            runs. (For convolutions it is that of images of any size.)
        weighted: Boolean. It has weights.
        merges: Boolean. It takes two tensors of the shape of a sample.
    """

    layer_cls: type[layers.LipschitzLayer]
    arguments: tuple[Any, ...] = ()
    sample: tuple[int, ...] = VECTORS
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    maker: Callable[..., layers.LipschitzLayer] | None = None
    other_sample: tuple[int, ...] | None = None
    promised: float | None = 1.0
    estimated: bool = False
    weighted: bool = True
    merges: bool = False

    @property
    def name(self):
        return self.layer_cls.__name__

    @property
    def uneven(self):
        return self.other_sample or UNEVEN[self.sample]

    @property
    def limit(self):
        """What the bound is promised not to exceed, up to roundings."""
        if self.promised is None:
            return None
        return self.promised * (1.1 if self.estimated else 1.0)

    def make(self, **kwargs):
        if self.maker is not None:
            return self.maker(**kwargs)
        return self.layer_cls(*self.arguments, **self.options, **kwargs)


def make_expansion(**kwargs):
    blocks = [layers.ConvexPotentialDense(3, **kwargs) for _ in range(2)]
    return layers.ConvexPotentialExpansion(blocks, **kwargs)


def make_invertible(**kwargs):
    block = [layers.ConvexPotentialDense(3, **kwargs), layers.MaxMin(**kwargs)]
    return layers.InvertibleResidual(block, 0.5, **kwargs)


def make_stack(**kwargs):
    block = [layers.ConvexPotentialDense(3), layers.MaxMin()]
    kwargs.setdefault("dtype", keras.config.dtype_policy())
    return layers.LayerStack(block, 2, **kwargs)


_CASES = (
    Case(layers.AOLConv1D, (4, 3), SIGNALS),
    Case(layers.AOLConv2D, (4, 3), IMAGES),
    Case(layers.AOLConv2DTranspose, (4, 3), IMAGES, options={"strides": 2}),
    Case(layers.AbsoluteValue, weighted=False),
    Case(layers.BCOPConv1D, (4, 3), SIGNALS),
    Case(layers.BCOPConv2D, (4, 3), IMAGES),
    Case(layers.BCOPConv2DTranspose, (4, 2), IMAGES, options={"strides": 2}),
    Case(layers.BROConv2D, (4, 3), IMAGES),
    Case(layers.BatchCentering),
    Case(layers.BetaAbs, weighted=False),
    Case(layers.CayleyConv2D, (4, 3), IMAGES),
    Case(layers.ConvexAdd, merges=True),
    Case(layers.ConvexPotentialConv2D, (4, 3), IMAGES, estimated=True),
    Case(layers.ConvexPotentialDense, (3,), estimated=True),
    Case(layers.ConvexPotentialExpansion, maker=make_expansion, estimated=True),
    Case(layers.CurvatureHead, (4, 3), promised=None),
    Case(layers.FreeConv2D, (4, 3), IMAGES, promised=None),
    Case(layers.FullSort, weighted=False),
    Case(layers.GlobalL2NormPooling2D, (), IMAGES, weighted=False),
    Case(layers.GlobalScaledAveragePooling2D, (), IMAGES, weighted=False),
    Case(layers.GroupSort, weighted=False),
    Case(layers.Householder, (2,)),
    Case(layers.InvertibleDownsampling2D, (), IMAGES, weighted=False),
    Case(
        layers.InvertibleResidual,
        maker=make_invertible,
        promised=1.5,
        estimated=True,
    ),
    Case(
        layers.InvertibleUpsampling2D,
        (),
        IMAGES,
        other_sample=(4, 4, 8),
        weighted=False,
    ),
    Case(layers.L2NormPooling2D, (), IMAGES, weighted=False),
    Case(layers.LOTConv2D, (4, 3), IMAGES, promised=None),
    Case(layers.LayerCentering, weighted=False),
    Case(layers.LayerStack, maker=make_stack, estimated=True),
    Case(layers.LinfDense, (4,)),
    Case(layers.LipNeXtBlock, (), IMAGES, other_sample=(4, 4, 6)),
    Case(layers.LipschitzConcatenate, weighted=False, merges=True),
    Case(layers.LipschitzDense, (4,), estimated=True),
    Case(layers.LipschitzResidualConv2D, (4, 3), IMAGES, promised=None),
    Case(layers.LipschitzResidualDense, (4,), promised=None),
    Case(layers.LipschitzScale, (0.5,), weighted=False),
    Case(layers.MaxChannelPooling, weighted=False),
    Case(layers.MaxMin, weighted=False),
    Case(layers.OSSNConv2D, (4, 3), IMAGES, estimated=True),
    Case(layers.OrthogonalDense, (4,)),
    Case(layers.PadChannels, (6,), other_sample=(5,), weighted=False),
    Case(layers.ProjectionPooling),
    Case(layers.RKOConv1D, (4, 3), SIGNALS),
    Case(layers.RKOConv2D, (4, 3), IMAGES),
    Case(layers.RKOConv2DTranspose, (4, 3), IMAGES, options={"strides": 2}),
    Case(layers.SLLConv2D, (4, 3), IMAGES),
    Case(layers.SLLDense, (3,)),
    Case(layers.SOCConv2D, (4, 3), IMAGES),
    Case(layers.SVCMConv2D, (4, 3), IMAGES, estimated=True),
    Case(layers.SandwichDense, (4,)),
    Case(layers.ScaledAveragePooling2D, (), IMAGES, weighted=False),
    Case(layers.SkewFlowConv2D, (4, 3), IMAGES, estimated=True),
    Case(layers.SkewFlowDense, (3,), estimated=True),
    Case(
        layers.SpatialShift2D,
        (),
        IMAGES,
        other_sample=(4, 4, 6),
        weighted=False,
    ),
    Case(layers.TruncateChannels, (2,), weighted=False),
    Case(layers.UnitNormDense, (4,), promised=2.0),
)

# By name.
CASES = {case.name: case for case in _CASES}
# Each as a function that makes it and the shape of one sample.
EVERY_LAYER = {name: (case.make, case.sample) for name, case in CASES.items()}
WEIGHTED = {name: EVERY_LAYER[name] for name in CASES if CASES[name].weighted}
WEIGHTLESS = {
    name: pair for name, pair in EVERY_LAYER.items() if name not in WEIGHTED
}
MERGING = tuple(name for name, case in CASES.items() if case.merges)


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
