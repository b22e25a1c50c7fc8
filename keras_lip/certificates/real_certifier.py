"""Certificates of the real-valued function that a program computes."""

import numpy as np

from keras_lip.certificates.curvature.radii import curvature_radii
from keras_lip.certificates.live_check import check_live
from keras_lip.certificates.margins import Margins
from keras_lip.certificates.margins import pair_margins
from keras_lip.certificates.margins import predict_labels
from keras_lip.certificates.pair_bounds import JOINT_FACTORS
from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.live_model import LiveModel
from keras_lip.program import Program
from keras_lip.program import upward
from keras_lip.program.nodes.curvature_head import CurvatureHead
from keras_lip.program.program import LIVE_MACHINE
from keras_lip.types import Array


class RealCertifier:
    """Certifies the real-valued function that a program computes.

    Logits and features are computed in float64. The program bounds their
    rounding errors, which are subtracted from the margins. In the l2 norm, a
    program that ends in a curvature head is also certified by its curvature.

    Args:
        program: The `Program` of a classifier.
        bounds: Its `PairBounds`.
        live: The `LiveModel` that the program was read from, to compare its
            outputs with the program's, or `None`.
    """

    def __init__(
        self, program: Program, bounds: PairBounds, live: LiveModel | None
    ) -> None:
        self._program, self._bounds, self._live = program, bounds, live
        self._head: CurvatureHead | None = None
        self._keep: tuple[int, ...] = ()
        last = program.step_of(program.output)
        if last is not None and isinstance(last.node, CurvatureHead):
            if bounds.norm == "l2":
                self._head, self._keep = last.node, last.inputs

    def __call__(self, x: Array, start: int = 0) -> tuple[Margins, Array]:
        """Bounds the margins of a batch of finite inputs.

        Args:
            x: Array of inputs.
            start: Integer. Index of the first input, for error messages.

        Returns:
            Tuple of the margins, and of further radii that hold independently
            of them. These are zero if there are no further radii.

        Raises:
            ValueError: If the outputs of the live model differ from the
                program's.
        """
        *features, outputs = self._program.enclose(x, LIVE_MACHINE, self._keep)
        logits = outputs.value
        # The l2 error of a difference of two logits.
        factor = 1.0 if logits.shape[1] == 1 else JOINT_FACTORS["l2"]
        errors = upward.multiply(outputs.center, factor)
        if self._live is not None:
            overflows = check_live(self._live, x, outputs, start)
            errors = np.where(overflows, np.inf, errors)
        margins = pair_margins(logits, self._bounds.matrix, errors)
        if self._head is None:
            return margins, np.zeros(len(logits))
        (source,) = features
        return margins, curvature_radii(
            source.value,
            predict_labels(logits),
            self._head,
            self._bounds.trunk_bound,
            np.where(np.isfinite(errors), source.center, np.inf),
        )
