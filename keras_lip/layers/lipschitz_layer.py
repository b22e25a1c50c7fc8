"""The contract every Lipschitz layer keeps."""

import abc

import keras


class LipschitzLayer(keras.layers.Layer, abc.ABC):
    """A layer that knows a bound on its own Lipschitz constant.

    The forward pass depends on the weights alone and caches nothing, so what is
    certified is what runs. Subclasses are final and implement `build`, `call`,
    `lipschitz_bound` and `to_keras_layer`. A subclass that overrides `call`
    without `lipschitz_bound` is refused wherever a bound is asked for.

    Attributes:
        norms: Names of the norms that the bound holds in, `"l2"` and `"linf"`.
        guarantee: What the layer promises, in a few words.
    """

    norms: tuple[str, ...] = ("l2",)
    guarantee: str = "non-expansive"

    @abc.abstractmethod
    def lipschitz_bound(self) -> float:
        """Bounds the Lipschitz constant of the built layer as it now stands.

        The bound is measured on the weights that run at inference, in float64
        and rounded up; it is not assumed to be one because the mathematics says
        so.

        Returns:
            Float. A proven upper bound, in each of the layer's `norms` of one
            sample.
        """

    @abc.abstractmethod
    def to_keras_layer(self, audited: bool = True) -> keras.layers.Layer:
        """Returns a stock Keras layer that computes the same function.

        Args:
            audited: Boolean. A layer may run on a scale that it estimates from
                below. If true, the stock layer holds the scale that is proven
                to be non-expansive instead; if false, the one that runs.

        Returns:
            A built layer, or model, of `keras.layers` and `keras.ops` alone.
        """
