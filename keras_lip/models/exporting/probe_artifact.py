"""Whether an artifact keeps what its radii assume."""

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

# What nothing can be said about: no number, and too large to be squared.
_HOSTILE = (np.nan, np.inf, -np.inf, 1e30)


class Probes(NamedTuple):
    """Inputs that an artifact is run on, and what is to be answered.

    Attributes:
        x: Float32 array. The last ones, one for each hostile number, are
            anything but regular.
        logits: Float64 array, of the regular ones.
        features: Float64 array or `None`, of the regular ones.
        radius: Float64 array. The radii that `certify` proves of these.
    """

    x: Array
    logits: Array
    features: Array | None
    radius: Array

    def check(self, outputs: dict[str, Array], radius: Radius) -> float:
        """Refuses an artifact that is not what its certificate says.

        Args:
            outputs: What the artifact answers to `x`.
            radius: What computes its radii.

        Returns:
            Float. The largest share of the tolerance that is used up.

        Raises:
            ValueError: If the logits are off by more than the tolerance.
            RuntimeError: If a label or a radius is wrong.
        """
        count = len(self.logits)
        found = outputs["logits"][:count].astype("float64")
        used = self._use(found, radius)
        if not used <= 1:
            raise ValueError(
                "The logits of the exported model are off by more than "
                f"`logit_tolerance` allows, {used:.3g} times as much. Pass a "
                "larger one, or export to another format."
            )
        labels = outputs["label"]
        if not np.array_equal(labels[:count], predict_labels(found)):
            raise _mistake("labels are not those of its logits")
        proven = outputs["radius"].astype("float64")
        wrong = labels[:count] != predict_labels(self.logits)
        limits = np.where(wrong, 0.0, self.radius)
        if np.any(np.isnan(proven)) or np.any(proven[:count] > limits):
            raise _mistake("radii are larger than what is proven")
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
    """Returns inputs with their certificates.

    Args:
        model: The model that is exported.
        program: Its `Program`, which it is held against.
        bounds: `PairBounds` of the model.
        given: Inputs to probe besides the built-in ones, or `None`.

    Raises:
        ValueError: If the model answers otherwise than its program.
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
        f"The exported model is not what its certificate says: {what}. This is "
        "a mistake of the converter, of the runtime or of this library: use "
        "another format, and report it. Nothing has been written."
    )
