"""The error of a false certificate."""

from typing import Any


class FalsifiedCertificate(RuntimeError):
    """Raised when an input contradicts a proof of this library.

    This is not an error of the caller. It is a bug in this library or Keras, or
    a fault of the machine: do not rely on the report, and please report the
    counterexample. `keras_lip.certificates.falsify` raises it.

    Args:
        message: String. The message.
        index: Integer. Index of the sample. If instead the Lipschitz bound of
            the model is exceeded, all arguments except `message` are `None`. If
            the model's outputs differ from the certified program, all except
            `message` and `counterexample` are `None`. Defaults to `None`.
        counterexample: Array of the shape of one input. Defaults to `None`.
        distance: Float. Distance of the counterexample from the sample, in the
            report's norm. Defaults to `None`.
        radius: Float. The certified radius, which is larger than the distance.
            Defaults to `None`.
        label: Integer. The certified class. Defaults to `None`.
        found: Integer. The class predicted for the counterexample, or `None` if
            the model abstains there. Defaults to `None`.
    """

    def __init__(
        self,
        message: str,
        index: int | None = None,
        counterexample: Any = None,
        distance: float | None = None,
        radius: float | None = None,
        label: int | None = None,
        found: int | None = None,
    ) -> None:
        super().__init__(message)
        self.index = index
        self.counterexample = counterexample
        self.distance = distance
        self.radius = radius
        self.label = label
        self.found = found
