"""Random networks of all layers that are known, wired at random."""

import keras
import numpy as np
from keras import ops

from keras_lip import layers as lip
from keras_lip.program.nodes.elementwise import FUNCTIONS
from tests.layers.every_layer import CASES

stock = keras.layers

PARAMETRIZATIONS = (
    "aol",
    "bjorck",
    "block_reflector",
    "cayley",
    "cholesky",
    "exponential",
    "frobenius",
    "qr",
    "spectral",
)
ACTIVATIONS = (*sorted(FUNCTIONS), "softmax")
PADDINGS = ("same", "valid")


def _constant(draws, shape):
    rng = np.random.default_rng(draws.seed())
    return rng.normal(size=shape[-1]).astype("float32")


def _plus(constant):
    return lambda x: x + constant


def _times(constant):
    return lambda x: x * constant


def _variance(draws, shape):
    return np.abs(_constant(draws, shape)) + 0.05


def _blocks(draws):
    count = draws.integer(1, 3)
    return [lip.ConvexPotentialDense(draws.integer(1, 5)) for _ in range(count)]


def _conv(cls, **kwargs):
    def make(draws, shape):
        return cls(
            draws.integer(1, 4),
            draws.integer(1, 3),
            padding=draws.choose(PADDINGS),
            strides=draws.integer(1, 2),
            **{name: draws.choose(values) for name, values in kwargs.items()},
        )

    return make


MODES = {"padding_mode": ("circular", "zeros")}

# Layers of this library stand under the names of their classes. Of tensors of
# any shape. Each function takes draws and the shape of a sample,
# and returns what is to be called.
ANY = {
    "abs": lambda d, s: ops.abs,
    "AbsoluteValue": lambda d, s: lip.AbsoluteValue(),
    "activation": lambda d, s: stock.Activation(d.choose(ACTIVATIONS)),
    "add_constant": lambda d, s: _plus(_constant(d, s)),
    "BatchCentering": lambda d, s: lip.BatchCentering(),
    "batch_normalization": lambda d, s: stock.BatchNormalization(),
    "clip": lambda d, s: lambda x: ops.clip(x, -0.5, 0.75),
    "concatenate_parts": lambda d, s: (
        lambda x: ops.concatenate([x[..., 1:], x[..., :1]], axis=-1)
    ),
    "dense": lambda d, s: stock.Dense(
        d.integer(1, 6), activation=d.choose(ACTIVATIONS)
    ),
    "dropout": lambda d, s: stock.Dropout(0.5),
    "einsum": lambda d, s: stock.EinsumDense(
        "...c,cd->...d", d.integer(1, 6), bias_axes="d"
    ),
    "elu": lambda d, s: stock.ELU(d.choose((0.5, 1.0, 1.5))),
    "flatten": lambda d, s: stock.Flatten(),
    "gaussian_noise": lambda d, s: stock.GaussianNoise(0.5),
    "index": lambda d, s: lambda x: x[..., 1:][..., :2],
    "LayerCentering": lambda d, s: lip.LayerCentering(),
    "leaky_relu": lambda d, s: stock.LeakyReLU(0.3),
    "LipschitzDense": lambda d, s: lip.LipschitzDense(
        d.integer(1, 6), d.choose(PARAMETRIZATIONS)
    ),
    "maximum_constant": lambda d, s: lambda x: ops.maximum(x, 0.25),
    "multiply_constant": lambda d, s: _times(_constant(d, s)),
    "normalization": lambda d, s: stock.Normalization(
        mean=_constant(d, s), variance=_variance(d, s)
    ),
    "OrthogonalDense": lambda d, s: lip.OrthogonalDense(d.integer(1, 6)),
    "PadChannels": lambda d, s: lip.PadChannels(s[-1] + d.integer(0, 2)),
    "prelu": lambda d, s: stock.PReLU("uniform"),
    "relu": lambda d, s: stock.ReLU(negative_slope=d.choose((0.0, 0.25))),
    "rescaling": lambda d, s: stock.Rescaling(
        d.choose((-2.0, 0.5, 3.0)), offset=0.5
    ),
    "reshape": lambda d, s: stock.Reshape((*s[::-1],)),
    "LipschitzScale": lambda d, s: lip.LipschitzScale(d.choose((0.5, 2.0))),
    "softmax": lambda d, s: stock.Softmax(),
    "split": lambda d, s: lambda x: ops.split(x, [1], axis=-1)[0],
    "FullSort": lambda d, s: lip.FullSort(),
    "TruncateChannels": lambda d, s: lip.TruncateChannels(d.integer(1, s[-1])),
    "UnitNormDense": lambda d, s: lip.UnitNormDense(d.integer(1, 6)),
}
# Of tensors with an even number of channels.
PAIRED = {
    "GroupSort": lambda d, s: lip.GroupSort(2),
    "Householder": lambda d, s: lip.Householder(d.integer(1, 2)),
    "MaxChannelPooling": lambda d, s: lip.MaxChannelPooling(),
    "MaxMin": lambda d, s: lip.MaxMin(),
    "ProjectionPooling": lambda d, s: lip.ProjectionPooling(),
}
VECTORS = {
    "ConvexPotentialDense": lambda d, s: lip.ConvexPotentialDense(
        d.integer(1, 6)
    ),
    "ConvexPotentialExpansion": lambda d, s: lip.ConvexPotentialExpansion(
        _blocks(d)
    ),
    "LayerStack": lambda d, s: lip.LayerStack(
        d.choose((lip.ConvexPotentialDense(3), lip.OrthogonalDense(s[-1]))), 2
    ),
    "repeat": lambda d, s: stock.RepeatVector(2),
    "SandwichDense": lambda d, s: lip.SandwichDense(d.integer(1, 6)),
    "SkewFlowDense": lambda d, s: lip.SkewFlowDense(d.integer(1, 6)),
    "SLLDense": lambda d, s: lip.SLLDense(d.integer(1, 6)),
}
SIGNALS = {
    "AOLConv1D": _conv(lip.AOLConv1D, **MODES),
    "average_pooling": lambda d, s: stock.AveragePooling1D(
        2, d.integer(1, 2), d.choose(PADDINGS)
    ),
    "BCOPConv1D": lambda d, s: lip.BCOPConv1D(d.integer(1, 4), 3),
    "conv": _conv(stock.Conv1D),
    "conv_transpose": _conv(stock.Conv1DTranspose),
    "cropping": lambda d, s: stock.Cropping1D((0, 1)),
    "global_average": lambda d, s: stock.GlobalAveragePooling1D(),
    "global_max": lambda d, s: stock.GlobalMaxPooling1D(),
    "masking": lambda d, s: stock.Masking(),
    "mean": lambda d, s: lambda x: ops.mean(x, axis=1),
    "RKOConv1D": _conv(lip.RKOConv1D, **MODES),
    "time_distributed": lambda d, s: stock.TimeDistributed(
        lip.OrthogonalDense(d.integer(1, 4))
    ),
    "transpose": lambda d, s: lambda x: ops.transpose(x, (0, 2, 1)),
    "up_sampling": lambda d, s: stock.UpSampling1D(2),
}
IMAGES = {
    "AOLConv2D": _conv(lip.AOLConv2D, **MODES),
    "AOLConv2DTranspose": _conv(lip.AOLConv2DTranspose, **MODES),
    "average_pooling": lambda d, s: stock.AveragePooling2D(
        d.integer(1, 3), d.integer(1, 2), d.choose(PADDINGS)
    ),
    "BCOPConv2D": lambda d, s: lip.BCOPConv2D(
        d.integer(1, 4), d.integer(1, 3), strides=d.integer(1, 2)
    ),
    "BCOPConv2DTranspose": lambda d, s: lip.BCOPConv2DTranspose(
        d.integer(1, 4), 2, strides=d.integer(1, 2)
    ),
    "CayleyConv2D": lambda d, s: lip.CayleyConv2D(d.integer(1, 4), 3),
    "center_crop": lambda d, s: stock.CenterCrop(2, 2),
    "conv": _conv(stock.Conv2D),
    "conv_transpose": _conv(stock.Conv2DTranspose),
    "ConvexPotentialConv2D": lambda d, s: lip.ConvexPotentialConv2D(
        d.integer(1, 4), 3
    ),
    "cropping": lambda d, s: stock.Cropping2D(((0, 1), (1, 0))),
    "depthwise_conv": _conv(stock.DepthwiseConv2D),
    "InvertibleDownsampling2D": lambda d, s: lip.InvertibleDownsampling2D(2),
    "global_average": lambda d, s: stock.GlobalAveragePooling2D(),
    "GlobalL2NormPooling2D": lambda d, s: lip.GlobalL2NormPooling2D(),
    "global_max": lambda d, s: stock.GlobalMaxPooling2D(),
    "GlobalScaledAveragePooling2D": lambda d, s: (
        lip.GlobalScaledAveragePooling2D()
    ),
    "L2NormPooling2D": lambda d, s: lip.L2NormPooling2D(d.integer(1, 2)),
    "LOTConv2D": lambda d, s: lip.LOTConv2D(d.integer(1, 4), 3),
    "max_pooling": lambda d, s: stock.MaxPooling2D(
        d.integer(1, 3), d.integer(1, 2), d.choose(PADDINGS)
    ),
    "OSSNConv2D": _conv(lip.OSSNConv2D, **MODES),
    "padding": lambda d, s: stock.ZeroPadding2D(((0, 1), (1, 0))),
    "permute": lambda d, s: stock.Permute((3, 1, 2)),
    "random_flip": lambda d, s: stock.RandomFlip(),
    "RKOConv2D": _conv(lip.RKOConv2D, **MODES),
    "RKOConv2DTranspose": _conv(lip.RKOConv2DTranspose, **MODES),
    "ScaledAveragePooling2D": lambda d, s: lip.ScaledAveragePooling2D(2),
    "separable_conv": lambda d, s: stock.SeparableConv2D(d.integer(1, 4), 2),
    "SkewFlowConv2D": lambda d, s: lip.SkewFlowConv2D(d.integer(1, 3), 3),
    "SLLConv2D": lambda d, s: lip.SLLConv2D(d.integer(1, 4), 3),
    "SOCConv2D": lambda d, s: lip.SOCConv2D(d.integer(1, 4), 3),
    "SVCMConv2D": _conv(lip.SVCMConv2D, **MODES),
    "up_sampling": lambda d, s: stock.UpSampling2D(
        2, interpolation=d.choose(("nearest", "bilinear"))
    ),
    "InvertibleUpsampling2D": lambda d, s: lip.InvertibleUpsampling2D(2),
}
OF_RANK = {1: VECTORS, 2: SIGNALS, 3: IMAGES}
# Of several tensors of one shape.
MERGES = {
    "add": lambda: stock.Add(),
    "average": lambda: stock.Average(),
    "concatenate": lambda: stock.Concatenate(),
    "ConvexAdd": lambda: lip.ConvexAdd(),
    "LipschitzConcatenate": lambda: lip.LipschitzConcatenate(),
    "maximum": lambda: stock.Maximum(),
    "minimum": lambda: stock.Minimum(),
    "minus": lambda: lambda pair: pair[0] - pair[1],
    "stack": lambda: lambda pair: ops.stack(pair, axis=1),
    "subtract": lambda: stock.Subtract(),
}
# The last layer, of a number of classes.
HEADS = {
    "CurvatureHead": lambda classes: lip.CurvatureHead(classes, 4),
    "LinfDense": lambda classes: lip.LinfDense(classes),
    "OrthogonalDense": lambda classes: lip.OrthogonalDense(classes),
    "UnitNormDense": lambda classes: lip.UnitNormDense(classes),
    "dense": lambda classes: stock.Dense(classes),
    "sort_after": lambda classes: keras.Sequential(
        [stock.Dense(classes), lip.FullSort()]
    ),
}


def _add_layers_of_the_table():
    """Enters layers that have no entry above, with the arguments of theirs."""
    known = set().union(ANY, PAIRED, *OF_RANK.values(), MERGES, HEADS)
    for name in sorted(set(CASES) - known):
        case = CASES[name]
        if case.merges:
            MERGES[name] = case.make
        else:
            OF_RANK[len(case.sample)][name] = lambda d, s, case=case: (
                case.make()
            )


_add_layers_of_the_table()
SHAPES = ((3,), (6,), (4, 2), (5, 3), (4, 4, 2), (5, 4, 3))
_MOST_ENTRIES = 256


class Network:
    """A random network, and what it is made of.

    Args:
        draws: The `Draws` that determine it, up to the initial weights.

    Attributes:
        model: A `keras.Model` that returns logits.
        recipe: List of strings, for a reader.
        runs: Boolean. Keras lets layers be called on symbols of a shape that
            they cannot compute on, and solvers of PyTorch refuse weights that
            overflow.
    """

    def __init__(self, draws):
        self._draws = draws
        self._shared = []
        self.recipe = []
        dtype = "float64" if draws.chance(8) else "float32"
        if keras.backend.backend() == "jax":
            # It has float64 where it is asked for at its start alone.
            dtype = "float32"
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(dtype)
        try:
            shape = draws.choose(SHAPES)
            self.recipe.append(f"{dtype} {shape}")
            inputs = keras.Input(shape, dtype=dtype)
            tensors = [inputs]
            for _ in range(draws.integer(0, 6)):
                self._grow(tensors)
            outputs = self._end(tensors[-1])
            self.model = keras.Model(inputs, outputs)
        finally:
            keras.config.set_dtype_policy(before)
        self.draw_weights()
        self.runs = self._can_run()

    def _grow(self, tensors):
        """Appends a tensor that is made of the last one, and of others."""
        draws, x = self._draws, tensors[-1]
        shape = tuple(x.shape[1:])
        same = [other for other in tensors if other.shape == x.shape]
        if draws.chance(4):
            name = draws.choose(sorted(MERGES))
            other = draws.choose(same)
            self._append(tensors, name, lambda: MERGES[name]()([x, other]))
        elif self._shared and draws.chance(6):
            name, layer = draws.choose(self._shared)
            self._append(tensors, f"{name} again", lambda: layer(x))
        elif draws.chance(10):
            self._nest(tensors)
        else:
            makers = {**ANY, **OF_RANK.get(len(shape), {})}
            if shape[-1] % 2 == 0:
                makers |= PAIRED
            name = draws.choose(sorted(makers))

            def call():
                layer = makers[name](draws, shape)
                outputs = layer(x)
                self._shared.append((name, layer))
                return outputs

            self._append(tensors, name, call)

    def _nest(self, tensors):
        """Appends what a model inside of the model computes."""
        x = tensors[-1]
        inputs = keras.Input(x.shape[1:], dtype=x.dtype)
        inner = [inputs]
        self.recipe.append("(")
        for _ in range(self._draws.integer(1, 3)):
            self._grow(inner)
        self.recipe.append(")")
        model = keras.Model(inputs, inner[-1])
        if len(inner) > 1:
            self._append(tensors, "nested", lambda: model(x))

    def _append(self, tensors, name, call):
        try:
            outputs = call()
        except (ValueError, TypeError):
            # No layer of this kind fits this shape.
            return
        is_fit = len(outputs.shape) > 1
        if is_fit and 0 < np.prod(outputs.shape[1:]) <= _MOST_ENTRIES:
            self.recipe.append(f"{name} {tuple(outputs.shape[1:])}")
            tensors.append(outputs)

    def _end(self, x):
        draws = self._draws
        classes = draws.choose((1, 2, 3, 5))
        if len(x.shape) > 2:
            x = stock.Flatten()(x)
        name = draws.choose(sorted(HEADS))
        self.recipe.append(f"{name} {classes}")
        return HEADS[name](classes)(x)

    def _can_run(self):
        shape = (2, *self.model.input_shape[1:])
        try:
            self.model(ops.zeros(shape, self.model.inputs[0].dtype))
        except Exception:
            return False
        return True

    def draw_weights(self):
        """Sets all weights at random, a few at scales that are extreme."""
        draws = self._draws
        rng = np.random.default_rng(draws.seed())
        extreme = draws.chance(4)
        for weight in self.model.weights:
            value = np.array(ops.convert_to_numpy(weight), "float64")
            if not np.issubdtype(np.dtype(weight.dtype), np.floating):
                continue
            noise = rng.normal(size=value.shape)
            if "variance" in weight.path:
                value = np.abs(noise) + 0.05
            elif weight.trainable or "moving" in weight.path:
                value = value + 0.3 * noise
                if extreme and rng.uniform() < 0.3:
                    value *= 10.0 ** rng.uniform(-30, 30)
            weight.assign(value)

    def __str__(self):
        return ", ".join(self.recipe)
