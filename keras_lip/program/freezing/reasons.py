"""Why stock layers have no Lipschitz bound, and which layers replace them."""

# Keys are the names of Keras classes.
REASONS = {
    "Attention": "the scores of dot products grow with the inputs",
    "AdditiveAttention": "its values are multiplied by scores of the inputs",
    "Dot": "a product of two inputs grows with either; use one input",
    "Embedding": "its inputs are integers, which cannot change continuously",
    "GRU": "its gates multiply values that depend on the input",
    "GroupNormalization": (
        "it divides by the standard deviation of each group, which may be "
        "arbitrarily small; use `keras_lip.layers.LayerCentering` or "
        "`BatchCentering`"
    ),
    "GroupQueryAttention": "the scores of dot products grow with the inputs",
    "LSTM": "its gates multiply values that depend on the input",
    "Lambda": (
        "it may compute anything; write a layer with a `freeze` or a "
        "`lipschitz_bound`, or functions of `keras.ops` in a functional model"
    ),
    "LayerNormalization": (
        "it divides by the standard deviation of each sample, which may be "
        "arbitrarily small; use `keras_lip.layers.LayerCentering`"
    ),
    "MultiHeadAttention": "the scores of dot products grow with the inputs",
    "Multiply": (
        "a product of two inputs grows with either; use `Add` or "
        "`keras_lip.layers.ConvexAdd`"
    ),
    "RMSNormalization": (
        "it divides by the root mean square of each sample, which may be "
        "arbitrarily small; use `keras_lip.layers.LayerCentering`"
    ),
    "SimpleRNN": "it feeds its outputs back into itself",
    "SpectralNormalization": (
        "its estimate of the kernel's norm may be too small; use "
        "`keras_lip.layers.LipschitzDense` or `RKOConv2D`"
    ),
    "UnitNormalization": (
        "it divides by the norm of each sample, which may be arbitrarily "
        "small; use `keras_lip.layers.LayerCentering`"
    ),
}
