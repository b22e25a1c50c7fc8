"""A live model under attack, and the program that was read from it."""

import numpy as np

from keras_lip.bounds.largest_stretch import largest_stretch
from keras_lip.certificates.attacks.falsified_certificate import (
    FalsifiedCertificate,
)
from keras_lip.certificates.live_check import measure
from keras_lip.certificates.pair_bounds import JOINT_FACTORS
from keras_lip.live_model import LiveModel
from keras_lip.program import Program
from keras_lip.program import upward
from keras_lip.program.program import LIVE_MACHINE
from keras_lip.types import Array

# Bound on the rounding errors of a float64 forward pass, relative to its
# intermediate values: thousands of units in the last place.
ROUNDING = 2.0**-40


class AttackedModel:
    """Evaluates and differentiates a model under attack.

    Gradients come from the live model. At every point that an attack evaluates,
    the outputs of the live model are compared with the outputs of the program.
    Margins are computed from the program's outputs, in float64.

    Args:
        live: The `LiveModel`.
        program: The `Program` that was read from it.
    """

    def __init__(self, live: LiveModel, program: Program) -> None:
        self._live, self._program = live, program

    def __call__(self, x: Array) -> Array:
        """Returns float64 logits of shape `(batch_size, classes)`."""
        return self.evaluate(x)[0]

    def evaluate(self, x: Array) -> tuple[Array, Array]:
        """Returns logits and bounds on the errors of their differences.

        Raises:
            FalsifiedCertificate: If the outputs of the live model differ from
                the program's.
        """
        (outputs,) = self._program.enclose(x, LIVE_MACHINE)
        off, allowed = measure(self._live(x), outputs)
        if np.any(off > allowed):
            index = int(np.argmax(off > allowed))
            raise FalsifiedCertificate(
                "The model's outputs differ from the certified program by "
                f"{off[index]:.3g}, but rounding explains only "
                f"{allowed[index]:.3g}. Do not rely on the report.",
                counterexample=x[index],
            )
        factor = 1.0 if outputs.value.shape[1] == 1 else JOINT_FACTORS["l2"]
        return outputs.value, upward.multiply(outputs.center, factor)

    def gradients(self, x: Array, weights: Array) -> Array:
        """Differentiates each sample's weighted sum of logits.

        Args:
            x: Array of inputs.
            weights: Array of shape `(batch_size, classes)`.

        Returns:
            Float64 array of the same shape as `x`. Non-finite gradients are
            zero.
        """
        found = self._live.pull_back(x, weights)
        return np.where(np.isfinite(found), found, 0.0)

    def stretch(
        self, x: Array, directions: Array, length: float, steps: int, norm: str
    ) -> float:
        """Estimates the Lipschitz constant from below, as `largest_stretch`."""
        return largest_stretch(
            self._program.run,
            lambda points, weights: self._program.gradient(weights, points)[0],
            x,
            directions,
            length,
            steps,
            norm,
            ROUNDING,
        )
