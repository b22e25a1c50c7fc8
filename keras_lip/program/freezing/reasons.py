"""Why stock layers have no Lipschitz bound, and what does their work."""

# By the names of the classes of Keras.
REASONS = {
    "Attention": "the scores of dot products grow with the inputs",
    "AdditiveAttention": "the values are weighted by scores of the inputs",
    "Dot": "a product of two inputs grows with either; use one input",
    "Embedding": "it takes integers, between which there is no small step",
    "GRU": "its gates multiply what depends on the input",
    "GroupNormalization": (
        "it divides by the deviation of each group, which may be as small as "
        "one likes; use `keras_lip.layers.LayerCentering` or `BatchCentering`"
    ),
    "GroupQueryAttention": "the scores of dot products grow with the inputs",
    "LSTM": "its gates multiply what depends on the input",
    "Lambda": (
        "it may compute anything; write a layer with a `freeze` or a "
        "`lipschitz_bound`, or functions of `keras.ops` in a functional model"
    ),
    "LayerNormalization": (
        "it divides by the deviation of each sample, which may be as small as "
        "one likes; use `keras_lip.layers.LayerCentering`"
    ),
    "MultiHeadAttention": "the scores of dot products grow with the inputs",
    "Multiply": (
        "a product of two inputs grows with either; use `Add` or "
        "`keras_lip.layers.ConvexAdd`"
    ),
    "RMSNormalization": (
        "it divides by the size of each sample, which may be as small as one "
        "likes; use `keras_lip.layers.LayerCentering`"
    ),
    "SimpleRNN": "it feeds its outputs back to itself",
    "SpectralNormalization": (
        "it estimates the norm of its kernel from below; use "
        "`keras_lip.layers.LipschitzDense` or `RKOConv2D`"
    ),
    "UnitNormalization": (
        "it divides by the norm of each sample, which may be as small as one "
        "likes"
    ),
}
