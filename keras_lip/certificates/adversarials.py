"""The nearest inputs of another class that attacks have found."""

import dataclasses

from keras_lip.types import Array


@dataclasses.dataclass(frozen=True)
class Adversarials:
    """Inputs that attacks have found, one for each sample.

    They show how near an input of another class is at most. Nothing follows
    from them on inputs that are nearer: that is what a certified radius says.

    Args:
        inputs: Float32 array of shape `(num_samples, *input_shape)`. Where no
            attack succeeded it is the sample.
        labels: Integer array of shape `(num_samples,)`. The classes that the
            model predicts for them.
        distances: Float64 array of shape `(num_samples,)`. How far they are
            from the samples, in the norm; infinite where no attack succeeded.
        norm: `"l2"` or `"linf"`.
    """

    inputs: Array
    labels: Array
    distances: Array
    norm: str
