"""Checks an artifact against the assumptions of its certificate."""

from typing import NamedTuple

import keras
import numpy as np

from keras_lip.certificates.margins import predict_labels
from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.certificates.real_certifier import RealCertifier
from keras_lip.live_model import LiveModel
from keras_lip.models.exporting.certified_model import Radius
from keras_lip.models.exporting.certified_model import find_head
from keras_lip.models.exporting.curvature_radius import CurvatureRadius
from keras_lip.program import Program
from keras_lip.program.program import LIVE_MACHINE
from keras_lip.types import Array

_SEED = 1234
_EACH = 8

# Inputs without a certificate: not a number, or too large to be squared.
_HOSTILE = (np.nan, np.inf, -np.inf, 1e30)


class Probes(NamedTuple):
    """Inputs to run an artifact on, and the expected outputs.

    Attributes:
        x: Float32 array. The last inputs contain one irregular number each
            (`_HOSTILE`).
        logits: Float64 array. Logits of the regular inputs.
        features: Float64 array or `None`. Features of the regular inputs.
        radius: Float64 array. The radii that `certify` proves for the regular
            inputs.
    """

    x: Array
    logits: Array
    features: Array | None
    radius: Array

    def check(self, outputs: dict[str, Array], radius: Radius) -> float:
        """Raises an error if an artifact does not match its certificate.

        Args:
            outputs: The artifact's outputs at `x`.
            radius: The object that computes the radii, with a method `check`.

        Returns:
            Float. The largest fraction of the tolerance that is used.

        Raises:
            ValueError: If the logits differ by more than the tolerance.
            RuntimeError: If a label or a radius is wrong.
        """
        count = len(self.logits)
        found = outputs["logits"][:count].astype("float64")
        used = self._use(found, radius)
        if not used <= 1:
            raise ValueError(
                "The logits of the exported model are off by more than "
                f"`logit_tolerance` allows, by a factor of {used:.3g}. Pass a "
                "larger tolerance, or export to another format."
            )
        labels = outputs["label"]
        if not np.array_equal(labels[:count], predict_labels(found)):
            raise _mistake("labels do not match its logits")
        proven = outputs["radius"].astype("float64")
        wrong = labels[:count] != predict_labels(self.logits)
        limits = np.where(wrong, 0.0, self.radius)
        if np.any(np.isnan(proven)) or np.any(proven[:count] > limits):
            raise _mistake("radii are larger than the proven radii")
        if np.any(proven[count:] != 0):
            raise _mistake("radii of inputs that are not finite are not zero")
        return used

    def _use(self, found: Array, radius: Radius) -> float:
        x = self.x[: len(found)].reshape(len(found), -1).astype("float64")
        if isinstance(radius, CurvatureRadius):
            assert self.features is not None
            return radius.check(x, self.features, self.logits, found)
        return radius.check(x, self.logits, found)


def make_probes(
    model: keras.Model,
    program: Program,
    bounds: PairBounds,
    given: Array | None,
) -> Probes:
    """Returns probe inputs and their expected outputs.

    Args:
        model: The model to export.
        program: Its `Program`, which the model is compared with.
        bounds: `PairBounds` of the model.
        given: Further inputs to probe, or `None`.

    Raises:
        ValueError: If the outputs of the model differ from those of its
            program.
    """
    shape = tuple(size or 0 for size in program.input_shapes[0] or ())
    rng = np.random.default_rng(_SEED)
    size = (_EACH, *shape)
    regular = [
        rng.uniform(0, 1, size),
        rng.normal(0, 1, size),
        rng.normal(0, 30, size),
        np.zeros((1, *shape)),
    ]
    if given is not None:
        regular.append(_check_given(given, shape))
    x = np.concatenate(regular).astype("float32")
    margins, radii = RealCertifier(program, bounds, LiveModel(model))(x)
    features = None
    if find_head(program, bounds) is not None:
        keep = program[program.output].inputs
        features = program.enclose(x, LIVE_MACHINE, keep)[0].value
    hostile = rng.uniform(0, 1, (len(_HOSTILE), *shape)).astype("float32")
    hostile.reshape(len(_HOSTILE), -1)[:, -1] = _HOSTILE
    return Probes(
        np.concatenate([x, hostile]),
        margins.logits,
        features,
        np.maximum(radii, margins.radii()),
    )


def _check_given(given: Array, shape: tuple[int, ...]) -> Array:
    given = np.asarray(given, dtype="float32")
    if given.shape[1:] != shape or not np.isfinite(given).all():
        raise ValueError(
            "`probes` must be an array of finite inputs of the model, of shape "
            f"{(None, *shape)}. Received: shape {given.shape}"
        )
    return given


def _mistake(what: str) -> RuntimeError:
    return RuntimeError(
        f"The exported model does not match its certificate: {what}. This is a "
        "bug in the converter, in the runtime or in this library. Please "
        "report it, and use another format. Nothing has been written."
    )
