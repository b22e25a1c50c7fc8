"""Checks that certified metrics evaluate the weights that were proven."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.bounds.common_norm import common_norm
from keras_lip.certificates.live_check import measure
from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.certificates.pair_bounds import bound_pairs
from keras_lip.graph import has_own_method
from keras_lip.metrics.certified_metric import CertifiedMetric
from keras_lip.metrics.summary import SIZE
from keras_lip.metrics.summary import summarize
from keras_lip.model_layers import visit_layers
from keras_lip.models.settings import digest_model
from keras_lip.precision import is_accelerated
from keras_lip.program import Program
from keras_lip.program import freeze
from keras_lip.program.arithmetic import LIVE
from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import Machine
from keras_lip.program.node import SampleShape
from keras_lip.read_weight import read_weight
from keras_lip.types import Array

# Number of probe inputs that are run in addition to the evaluation's inputs.
# Half of them have positive entries, as images do.
_PROBES = 4

# Sides of probes where the built model leaves them unknown. The first one that
# the strides of the model divide is used.
_SIDES = (32, 36, 60, 210)

# Unit roundoffs of the 16-bit dtypes that an evaluation may use.
_UNITS = {"float16": 2.0**-11, "bfloat16": 2.0**-8}

# Allowance for compiled steps, which may sum their kernels in another order.
_ROOM = 8.0


class EvaluationWatch:
    """Proves constants for an evaluation, and checks that its model has them.

    Args:
        model: The model.
        metrics: The certified metrics of one of its outputs.
        output: Integer. Index of the output, in the order of
            `keras.tree.flatten`. Defaults to `0`.
    """

    def __init__(
        self,
        model: keras.Model,
        metrics: Sequence[CertifiedMetric],
        output: int = 0,
    ) -> None:
        self._model = model
        self._metrics = tuple(metrics)
        self._output = output
        # The model that computes this output alone.
        self._proven = model
        if isinstance(model, keras.Function) and len(model.outputs) > 1:
            self._proven = keras.Model(model.inputs, model.outputs[output])
        self._version = ""
        self._digest = ""
        self._expected: Enclosure | None = None
        self._probes: Array | None = None
        self._answers: Any = None
        self._is_due: Any = None
        # Whether an input has another size than the constants hold for, how far
        # the outputs of a user's step are from those of the model, and a
        # summary of the outputs, to compare with what the metrics get.
        self._misfit: Any = None
        self._difference: Any = None
        self._summary: Any = None
        # Unit roundoff of 16 bits, if the model computes with them.
        self._unit = 0.0
        self._allowed_difference = 0.0
        # Whether a user's step does not tell its inputs.
        self._is_blind = False
        self._shape: SampleShape = None
        self._taken: list[tuple[CertifiedMetric, PairBounds, Any]] = []
        self.is_used = False

    def begin(self) -> None:
        """Freezes the current model and passes its constants to the metrics.

        Raises:
            ValueError: If a metric was made with a smaller constant than that
                of the model.
        """
        if not self._model.built:
            return
        # Only the program tells whether a number changed that is no weight,
        # such as a slope.
        program = freeze(self._proven)
        if program.digest != self._digest:
            self._prove(program)
            self._digest = program.digest
        self._version = digest_model(self._model)
        for metric, bounds, _ in self._taken:
            _check_given(metric, bounds, self._model)
        # The metrics may hold other constants: training estimates some, and
        # another model that uses the same metric sets its own.
        for metric, bounds, head in self._taken:
            metric.take_constants(bounds, head)
        if self._is_due is not None:
            self._is_due.assign(1.0)
            self._misfit.assign(0.0)

    def _prove(self, program: Program) -> None:
        proven: dict[str, Any] = {}
        self._taken = []
        for metric in self._metrics:
            try:
                norm = common_norm(self._proven, metric.norm)
            except ValueError:
                if metric.lipschitz_bound is None:
                    raise
                # The given constant is in a norm without a proof.
                continue
            if norm not in proven:
                proven[norm] = bound_pairs(program, program.bounds(norm))
            bounds = proven[norm]
            head = None
            if bounds.kind.startswith("linear"):
                head = visit_layers(self._proven)[-1]
            head = head if hasattr(head, "kernel") else None
            self._taken.append((metric, bounds, head))
        self._set_probes(program)

    def _set_probes(self, program: Program) -> None:
        self._shape = program.input_shapes[0]
        if self._probes is None:
            self._probes = _draw_probes(program)
            # An evaluation may only change variables of metrics.
            metric, outputs = self._metrics[0], program.output_shape or ()
            self._answers = metric.add_note(
                "probe_answers", (_PROBES, *outputs)
            )
            self._is_due = metric.add_note("probes_are_due")
            self._misfit = metric.add_note("misfit")
            self._summary = metric.add_note("expected_summary", (SIZE,))
            if has_own_method(self._model, "test_step"):
                self._difference = metric.add_note("difference")
            if self._model.test_function is not None:
                # The function may have been traced without probes.
                self._model.make_test_function(force=True)
        units = [_UNITS.get(dtype, 0.0) for _, dtype in program.roundings]
        self._unit = max(units, default=0.0)
        arithmetic = _arithmetic(self._unit)
        self._allowed_difference = max(1e-3, 64 * arithmetic.unit)
        machine = Machine(arithmetic, sharp=False)
        (self._expected,) = program.enclose(self._probes, machine)

    def follow_heads(self, estimates: dict[int, Any]) -> None:
        """Estimates the constants that change in a training step.

        Args:
            estimates: Dict from the index of an output to the constants that a
                loss estimates for its margins.
        """
        for metric in self._metrics:
            metric.follow_head(estimates.get(self._output))
        self._expect_updates()

    def check_batch(self, x: Any, y_pred: Any) -> None:
        """Checks a batch of an evaluation, and runs the probes in its first.

        Args:
            x: The inputs, or `None` if the step does not pass them on.
            y_pred: The outputs that the metrics evaluate.
        """
        self._expect_updates()
        if self._probes is None:
            return
        if x is None:
            self._is_blind = True
        else:
            self._check_size(x)

        def run() -> Any:
            outputs = self._model(
                ops.convert_to_tensor(self._probes), training=False
            )
            answers = keras.tree.flatten(outputs)[self._output]
            return ops.cast(answers, "float32")

        self._do_once(self._answers, run)
        given = keras.tree.flatten(y_pred)[self._output]
        self._do_once(self._summary, lambda: summarize(given))
        if self._difference is not None and x is not None:
            self._do_once(self._difference, lambda: self._compare(x, given))
        self._is_due.assign(ops.convert_to_tensor(self._is_due) * 0.0)

    def _expect_updates(self) -> None:
        """Announces the updates of a step; a metric may be given twice."""
        for metric in self._metrics:
            times = sum(each is metric for each in self._metrics)
            metric.expect_updates(times)

    def _do_once(self, variable: Any, compute: Any) -> None:
        """Assigns a value in the first batch of an evaluation."""
        variable.assign(
            ops.cond(
                ops.convert_to_tensor(self._is_due) > 0,
                compute,
                lambda: ops.convert_to_tensor(variable.value) + 0.0,
            )
        )

    def _check_size(self, x: Any) -> None:
        """Notes inputs of another size than the constants hold for."""
        tensors = keras.tree.flatten(x)
        if len(tensors) != 1 or self._shape is None:
            return
        sizes = tuple(ops.shape(tensors[0])[1:])
        shape = self._shape
        # A functional model adds and removes a last axis of size one.
        if len(sizes) == len(shape) + 1:
            shape = (*shape, 1)
        elif len(sizes) + 1 == len(shape):
            sizes = (*sizes, 1)
        misfit: Any = float(len(sizes) != len(shape))
        for size, expected in zip(sizes, shape, strict=False):
            # TensorFlow may know a size only when it runs.
            if expected is not None:
                misfit += ops.cast(ops.not_equal(size, expected), "float32")
        self._misfit.assign(self._misfit + misfit)

    def _compare(self, x: Any, given: Any) -> Any:
        """Returns the largest difference to the outputs of the model."""
        outputs = keras.tree.flatten(self._model(x, training=False))
        expected, given = (
            ops.cast(each, "float32") for each in (outputs[self._output], given)
        )
        scale = ops.max(ops.abs(expected)) + keras.config.epsilon()
        return ops.max(ops.abs(given - expected)) / scale

    def end(self) -> None:
        """Raises an error if the evaluated model is not the proven one.

        Raises:
            ValueError: If weights or settings of layers have changed, the
                model's outputs differ from those of its frozen program, or it
                has evaluated inputs of another size, or other outputs; or if
                the model was not built when the evaluation began.
        """
        if self._expected is None:
            if self._has_counted():
                raise ValueError(
                    f"Model '{self._model.name}' was not built when its "
                    "evaluation with certified metrics began, so nothing was "
                    "proven. Begin it with a `keras.Input`, or call it once "
                    "before."
                )
            return
        self.check_version()
        if float(read_weight(self._is_due)) > 0:
            if self._has_counted():
                raise ValueError(
                    f"Model '{self._model.name}' was evaluated by a step that "
                    "does not call its `compute_loss` with `training=False`, "
                    "so it could not be compared with the proven model. Call "
                    "it before the metrics are updated, or use "
                    "`keras_lip.certificates.certify`."
                )
            # No batch was evaluated.
            return
        if self._is_blind:
            raise ValueError(
                f"The `test_step` of model '{self._model.name}' does not pass "
                "its inputs to `compute_loss`, so its outputs could not be "
                "compared with those of the model. Call "
                "`self.compute_loss(x=x, y=y, y_pred=y_pred, training=False)`."
            )
        found = read_weight(self._answers)
        off, allowed = measure(found, self._expected)
        if float(read_weight(self._misfit)) > 0:
            raise ValueError(
                f"Model '{self._model.name}' is built for inputs of shape "
                f"{self._shape}, without the batch axis, and its constants "
                "hold for them alone. Build it for the inputs that you "
                "evaluate. Received: inputs of another shape"
            )
        difference = self._difference
        difference = 0.0 if difference is None else read_weight(difference)
        if not difference <= self._allowed_difference:
            raise ValueError(
                f"The `test_step` of model '{self._model.name}' evaluates "
                "other outputs than those of the model at the inputs that it "
                "passes to `compute_loss`. The constants of certified metrics "
                "are those of the model: put a temperature or another "
                "operation into the model. Received: a largest difference of "
                f"{float(difference):.3g} of the largest output"
            )
        summary = read_weight(self._summary)
        for metric in self._metrics:
            if metric.has_strange_updates():
                raise ValueError(
                    f"Metric '{metric.name}' was updated with outputs that "
                    f"model '{self._model.name}' had not passed to its "
                    "`compute_loss`. Call `compute_loss` with "
                    "`training=False` before the metrics are updated, once "
                    "for each update."
                )
            if metric.has_other_outputs(summary, self._unit):
                raise ValueError(
                    f"Metric '{metric.name}' evaluates other outputs than "
                    f"those that model '{self._model.name}' passes to "
                    "`compute_loss`: its `test_step` or `compute_metrics` "
                    "changes them. The constants are those of the model: put a "
                    "temperature or another operation into the model."
                )
        if np.any(off > _ROOM * allowed):
            index = int(np.argmax(off > _ROOM * allowed))
            raise ValueError(
                f"Model '{self._model.name}' computes another function than "
                "the one read from its layers: at a probe its outputs are off "
                f"by {off[index]:.3g}, but rounding explains only "
                f"{_ROOM * allowed[index]:.3g}. A compiled function may be "
                "stale (compile the model again after you change a layer), a "
                "method may have been replaced, or a scope of reduced "
                "precision may be active. Certified metrics report nothing."
            )

    def _has_counted(self) -> bool:
        """Whether the metrics have seen a sample."""
        return any(float(read_weight(m.count)) != 0 for m in self._metrics)

    def forget(self) -> None:
        """Takes the constants from the metrics: they certify nothing."""
        self.is_used = False
        for metric in self._metrics:
            metric.forget_constants()

    def check_version(self) -> None:
        """Raises an error if weights or settings have changed since `begin`."""
        if digest_model(self._model) != self._version:
            raise ValueError(
                f"Model '{self._model.name}' changed during an evaluation with "
                "certified metrics: its weights, or the settings of a layer. "
                "The constants were computed at the start. Change weights and "
                "settings before the evaluation, or in `on_test_begin` of a "
                "callback."
            )


def _check_given(
    metric: CertifiedMetric, bounds: PairBounds, model: keras.Model
) -> None:
    """Raises an error if a metric was made with too small a constant."""
    constant = metric.find_given_constant(bounds.norm, len(bounds.matrix))
    needed = np.max(bounds.matrix)
    if constant is not None and constant < needed:
        raise ValueError(
            f"Metric '{metric.name}' was made with a smaller constant than "
            f"that of model '{model.name}', so its radii would be false. Leave "
            "`lipschitz_bound` out, or pass at least "
            "`keras_lip.bounds.lipschitz_bound(model)`. Received: "
            f"lipschitz_bound={metric.lipschitz_bound!r}, which gives "
            f"{constant:.9g} for a margin, but the model has {needed:.9g}"
        )


def _draw_probes(program: Program) -> Array:
    """Returns random inputs of a size that a program accepts."""
    rng = np.random.default_rng(0)
    for side in _SIDES:
        shape = tuple(size or side for size in program.input_shapes[0] or ())
        low = np.repeat([0.0, -1.0], _PROBES // 2)
        low = low.reshape(-1, *[1] * len(shape))
        probes = rng.uniform(low, 1.0, (_PROBES, *shape)).astype("float32")
        try:
            program.run(probes)
        except ValueError:
            if side == _SIDES[-1]:
                raise
            continue
        break
    return probes


def _arithmetic(unit: float) -> Any:
    """Returns the arithmetic that an evaluation is expected to use."""
    unit = max(LIVE.unit, unit)
    if is_accelerated():
        # Accelerators may round factors to ten bits (TF32).
        unit = max(unit, 2.0**-11)
    return LIVE._replace(unit=unit)
