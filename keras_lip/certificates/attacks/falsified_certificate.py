"""What is raised where a certificate turns out to be false."""

from typing import Any


class FalsifiedCertificate(RuntimeError):
    """A proof of this library is contradicted by an input.

    It is no error of the caller, but a mistake of the library, of Keras or of
    the machine: do not rely on the report, and pass the counterexample on.
    Raised by `keras_lip.certificates.falsify`.

    Args:
        message: String. What was found.
        index: Integer. Which sample it is. All but the message are `None` where
            the Lipschitz bound of the model is exceeded instead, and all but
            the counterexample where the model answers otherwise than what was
            certified. Defaults to `None`.
        counterexample: Array of the shape of one input. Defaults to `None`.
        distance: Float. How far it is from the sample, in the report's norm.
            Defaults to `None`.
        radius: Float. The certified radius, which is larger. Defaults to
            `None`.
        label: Integer. The class that is certified. Defaults to `None`.
        found: Integer, the class of the counterexample; `None` if the model
            abstains there. Defaults to `None`.
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
