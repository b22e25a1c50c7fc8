"""What must hold of every network, checked and attacked."""

import dataclasses
import pathlib
import tempfile

import keras
import numpy as np

from keras_lip import certificates
from keras_lip import metrics
from keras_lip import models
from keras_lip.bounds import lipschitz_bound
from keras_lip.bounds.common_norm import common_norm
from keras_lip.live_model import LiveModel
from keras_lip.program import freeze
from keras_lip.program.contracting import bound_contraction
from keras_lip.program.program import LIVE_MACHINE
from tests.random_networks import artifacts

# Roundings of float64 in a sum of a few thousand products.
_ROUNDING = 1e-9
_STEPS = 4


@dataclasses.dataclass
class Tally:
    """What was checked.

    Attributes:
        networks: Number of networks that were built.
        refused: Number of those that no certificate is known for.
        bounds: Number of Lipschitz bounds that were held against a stretch.
        contractions: Number of contraction bounds that were.
        certificates: Number of certified radii that were attacked.
        copies: Number of stock models that were held against the original.
        artifacts: Number of exported models that were.
        reasons: Dict of lists: the names of those that each reason was given
            for.
    """

    networks: int = 0
    refused: int = 0
    bounds: int = 0
    contractions: int = 0
    certificates: int = 0
    copies: int = 0
    artifacts: int = 0
    reasons: dict = dataclasses.field(default_factory=dict)


class BrokenPromiseError(AssertionError):
    """Something was certified that is not so."""


class NetworkChecks:
    """Checks all that the library says of a network.

    Args:
        model: A `keras.Model` that returns logits.
        rng: A NumPy generator, of the inputs.
        tally: The `Tally` to count in.
        samples: Number of inputs to certify and to attack.
        name: String, for the reader of a tally.
    """

    def __init__(self, model, rng, tally, samples=8, name="network"):
        self.model, self.rng, self.tally = model, rng, tally
        self.name = name
        self.x = rng.normal(size=(samples, *model.input_shape[1:])).astype(
            model.input_dtype if hasattr(model, "input_dtype") else "float32"
        )
        self.norm = "l2"

    def run(self, evaluates=False, changes=True, exports=False):
        """Runs all checks, or counts the network as refused."""
        self.tally.networks += 1
        try:
            self.norm = common_norm(self.model, None)
            report = self._certify()
        except (ValueError, TypeError) as error:
            text = str(error)
            if "outputs differ from" in text:
                raise BrokenPromiseError(text) from error
            self.tally.refused += 1
            self.tally.reasons.setdefault(text[:70], []).append(self.name)
            return
        self.program = freeze(self.model)
        self.live = LiveModel(self.model)
        self.check_program()
        self.check_bounds()
        self.check_contractions()
        self.attack(report)
        if evaluates:
            self.check_evaluation(report)
        if exports:
            self.check_artifact(report)
        if changes:
            self.check_change(report)

    def _certify(self):
        labels = np.zeros(len(self.x), int)
        return certificates.certify(
            self.model, self.x, labels, epsilons=(), norm=self.norm
        )

    def _enclose(self, program, x):
        (outputs,) = program.enclose(x, LIVE_MACHINE)
        return outputs.value, outputs.error[0] + outputs.center, outputs.center

    def _require(self, holds, what):
        if not np.all(holds):
            raise BrokenPromiseError(what)

    def check_program(self):
        """The live model computes what the program does, up to roundings."""
        values, allowed, _ = self._enclose(self.program, self.x)
        off = _distances(_finite(self.live(self.x)) - values)
        self._require(~(off > allowed), f"live is off by {off} of {allowed}")

    def check_bounds(self):
        """No bound, of the model or of its stock form, is stretched."""
        steps = self._list_steps()
        bound = lipschitz_bound(self.model, self.norm)
        self._check_stretch(bound, self.program, steps)
        copy = models.materialize(self.model)
        self._check_copy(copy)
        try:
            bound = lipschitz_bound(copy, self.norm)
        except ValueError:
            # Not all that a layer is written out of has a bound.
            return
        # Constants are rounded once more in the copy, so that is stretched.
        self._check_stretch(bound, freeze(copy), steps)

    def check_contractions(self):
        """No tensor brings inputs closer than is proven of it."""
        x = self.x.astype("float64")
        p = np.inf if self.norm == "linf" else 2
        # Functions that sort or take moduli do not tell these inputs apart.
        steps = [x[..., ::-1] - x, -2 * x]
        steps += [
            length * self.rng.normal(size=x.shape)
            for length in (1e-3, 1.0, 10.0)
        ]
        for index in range(1, len(self.program.steps) + 1):
            part = dataclasses.replace(self.program, output=index).pruned()
            bound = bound_contraction(part, self.norm)
            if bound == 0:
                continue
            start, _, error = self._enclose(part, x)
            for step in steps:
                end, _, other = self._enclose(part, x + step)
                gap = _distances(end - start, p) + error + other
                least = bound * (1 - _ROUNDING) * _distances(step, p)
                self._require(
                    ~(gap < least),
                    f"{gap} apart where {least} is proven of tensor {index}",
                )
            self.tally.contractions += 1

    def _list_steps(self):
        """Returns steps along which gradients find the outputs far apart."""
        start = self._enclose(self.program, self.x)[0]
        steps = []
        for length in (1e-3, 1.0):
            step = self.rng.normal(size=self.x.shape)
            for _ in range(_STEPS):
                step = _shorten(step, np.full(len(step), length), self.norm)
                steps.append(step)
                # Along the gradient of how far apart the outputs are.
                near = self.x + step
                end = self._enclose(self.program, near)[0]
                apart = np.nan_to_num(end - start, posinf=0, neginf=0)
                (step,) = self.program.gradient(apart, near)
                step = np.nan_to_num(step, posinf=0, neginf=0)
        return steps

    def _check_stretch(self, bound, program, steps):
        p = np.inf if self.norm == "linf" else 2
        start, _, error = self._enclose(program, self.x)
        for step in steps:
            end, _, other = self._enclose(program, self.x + step)
            gap = _distances(end - start, p) - error - other
            with np.errstate(divide="ignore", invalid="ignore"):
                found = gap / _distances(step, p)
            stretch = np.max(found[np.isfinite(found)], initial=0)
            self._require(
                stretch <= bound * (1 + _ROUNDING),
                f"a stretch of {stretch} where {bound} is proven",
            )
        self.tally.bounds += 1

    def _check_copy(self, copy):
        """The stock form computes what the model does."""
        values, allowed, _ = self._enclose(self.program, self.x)
        off = _distances(_finite(LiveModel(copy)(self.x)) - values)
        # Constants are rounded once more in it.
        self._require(
            ~(off > 4 * allowed + 1e-6 * (1 + _distances(values))),
            f"the stock form is off by {off} of {allowed}",
        )
        self.tally.copies += 1

    def attack(self, report):
        """No step inside of a radius changes a class."""
        live, program = self.live, self.program
        radius = np.minimum(report.radius, 1e30)
        kept = radius > 0
        if not kept.any():
            return
        x, radius = self.x[kept].astype("float64"), radius[kept]
        labels = report.prediction[kept]
        self.tally.certificates += len(x)
        points = x + _shorten(self.rng.normal(size=x.shape), radius, self.norm)
        for step in range(_STEPS):
            points = _round_inside(points, x, radius, self.norm, live.dtype)
            logits, allowed, center = self._enclose(program, points)
            answers = live(points)
            off = _distances(_finite(answers) - logits)
            self._require(~(off > allowed), f"live is off by {off}")
            lead = _leads(logits, labels)
            self._require(
                ~(lead < -2 * center),
                f"a class changes within {radius[lead < -2 * center]}",
            )
            weights = _margin_weights(answers, labels)
            slope = live.pull_back(points, weights)
            slope = np.nan_to_num(slope, posinf=0, neginf=0)
            reach = radius * (1 - 0.5 * (step % 2))
            points = x - _shorten(slope, reach, self.norm)

    def check_evaluation(self, report):
        """`evaluate` counts what is certified."""
        certified = report.radius[report.radius > 0]
        if not certified.size:
            # `evaluate` counts what is correct at a radius of zero.
            return
        epsilon = float(min(np.median(certified), 1e30))
        outputs = self.model.output_shape[-1]
        metric = (
            metrics.BinaryCertifiedAccuracy
            if outputs == 1
            else metrics.CertifiedAccuracy
        )(epsilon, name="certified")
        loss = keras.losses.MeanSquaredError()
        model = models.LipschitzModel(self.model.inputs, self.model.outputs[0])
        model.compile(loss=loss, metrics=[metric])
        labels = report.prediction
        y = labels[:, None] if outputs == 1 else np.eye(outputs)[labels]
        found = model.evaluate(
            self.x, y.astype("float32"), verbose=0, return_dict=True
        )["certified"]
        # It leaves out what curvature proves, and rounds to float32.
        most = np.mean(report.radius > epsilon * (1 - 1e-5))
        self._require(
            found <= most + 1e-6, f"evaluate says {found}, certify {most}"
        )

    def check_artifact(self, report):
        """An exported model certifies no more than `certify` does."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "artifact"
            try:
                run = artifacts.export(self.model, path)
            except ValueError as error:
                # 16 or 64 bits, or logits that float32 does not carry.
                reason = f"not exported: {error}"[:70]
                self.tally.reasons.setdefault(reason, []).append(self.name)
                return
            found = run(self.x.astype("float32"))
        certified = found["radius"] > 0
        with np.errstate(over="ignore"):
            proven = report.radius * (1 + 1e-6)
        self._require(
            found["radius"] <= proven,
            f"radii of {found['radius']} where {report.radius} is proven",
        )
        self._require(
            found["label"][certified] == report.prediction[certified],
            "the exported model certifies another class",
        )
        self.tally.artifacts += 1

    def check_change(self, report):
        """Other weights are another program: no audit is taken over."""
        digest = self.program.digest
        weights = self.model.get_weights()
        self.model.set_weights(
            [0.75 * w if w.dtype.kind == "f" else w for w in weights]
        )
        changed = freeze(self.model)
        try:
            if changed.digest != digest:
                try:
                    certificates.certify(
                        self.model, self.x, report.label, audit=report.audit
                    )
                except ValueError:
                    pass
                else:
                    raise BrokenPromiseError("an audit of other weights holds")
            self.program, self.live = changed, LiveModel(self.model)
            self.attack(self._certify())
        finally:
            self.model.set_weights(weights)


def _finite(outputs):
    """Returns outputs, as NaN where they overflow and nothing is promised."""
    return np.where(np.isfinite(outputs), outputs, np.nan)


def _flatten(x):
    return np.reshape(x, (len(x), -1))


def _distances(x, norm=2):
    with np.errstate(over="ignore", invalid="ignore"):
        return np.linalg.norm(_flatten(x), norm, axis=1)


def _shorten(directions, radius, norm):
    """Returns steps as long as the radii, in some directions."""
    flat = _flatten(directions)
    if norm == "linf":
        flat = np.sign(flat)
        lengths = np.ones(len(flat))
    else:
        largest = np.maximum(np.max(np.abs(flat), axis=1), 1e-300)
        flat = flat / largest[:, None]
        lengths = np.maximum(np.linalg.norm(flat, axis=1), 1e-300)
    with np.errstate(over="ignore", invalid="ignore"):
        steps = flat * (radius / lengths)[:, None]
    return steps.reshape(directions.shape)


def _round_inside(points, x, radius, norm, dtype):
    """Returns points of a dtype that lie inside of the radii."""
    p = np.inf if norm == "linf" else 2
    for shrink in (1 - 1e-6, 0.999, 0.9, 0.0):
        step = (points - x) * shrink
        rounded = (x + step).astype(dtype).astype("float64")
        outside = ~(_distances(rounded - x, p) < radius)
        points = np.where(_expand(outside, x), points, rounded)
        if not outside.any():
            return points
        if shrink == 0.0:
            points = np.where(_expand(outside, x), x, points)
    return points


def _expand(mask, x):
    return mask.reshape(len(mask), *(1,) * (x.ndim - 1))


def _leads(logits, labels):
    """Returns by how much the logit of each label leads."""
    if logits.shape[1] == 1:
        return np.where(labels == 1, 1, -1) * logits[:, 0]
    rows = np.arange(len(logits))
    others = logits.copy()
    others[rows, labels] = -np.inf
    return (logits[rows, labels] - others.max(axis=1)) / np.sqrt(2)


def _margin_weights(logits, labels):
    if logits.shape[1] == 1:
        return np.where(labels == 1, 1.0, -1.0)[:, None]
    rows = np.arange(len(logits))
    others = logits.copy()
    others[rows, labels] = -np.inf
    weights = np.zeros_like(logits)
    weights[rows, labels] = 1
    weights[rows, others.argmax(axis=1)] = -1
    return weights
