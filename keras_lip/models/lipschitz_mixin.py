"""Methods that Lipschitz models add to Keras models."""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import keras

from keras_lip.bounds.common_norm import common_norm
from keras_lip.graph import deep_recursion
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.lipschitz_layer import find_constrained_layers
from keras_lip.losses.certified_loss import CertifiedLoss
from keras_lip.metrics.certified_metric import CertifiedMetric
from keras_lip.models.compile_arguments import pair_with_outputs
from keras_lip.models.compile_arguments import read_losses
from keras_lip.models.compile_arguments import read_metrics
from keras_lip.models.evaluation_watch import EvaluationWatch
from keras_lip.models.held_inference import HeldInference
from keras_lip.models.held_inference import add_refresh
from keras_lip.models.held_inference import can_hold
from keras_lip.models.kept_weights import keeping_weights
from keras_lip.models.pair_estimate import PairEstimate
from keras_lip.models.settings import digest_settings
from keras_lip.models.step_scope import check_scope
from keras_lip.models.training_data import add_loss_guard
from keras_lip.models.training_data import check_labels
from keras_lip.models.training_data import check_training_data
from keras_lip.models.training_data import has_own_loss
from keras_lip.models.watch_callbacks import add_watches
from keras_lip.types import Config


class _Hidden:
    """Hides watches from Keras's tracking.

    Otherwise a list of metrics as an attribute would track each metric twice.
    """

    def __init__(self) -> None:
        self.watches: list[EvaluationWatch] = []
        self.estimates: list[tuple[CertifiedLoss, PairEstimate]] = []
        self.inference: HeldInference | None = None
        # The settings of the layers when each function was compiled.
        self.settings: dict[str, str] = {}


class LipschitzMixin:
    """Rejects layers without a bound, and binds metrics to the model."""

    _certifying = _Hidden()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with deep_recursion():
            super().__init__(*args, **kwargs)
        if isinstance(self, keras.Function):
            common_norm(self)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """Compiles the model, and gives certified metrics its constants.

        Takes the arguments of `keras.Model.compile`. The names of this
        library's losses and metrics are accepted as well. Certified metrics,
        such as `keras_lip.metrics.CertifiedAccuracy`, are bound to this model:
        they use its Lipschitz constants, which are computed at the start of
        every evaluation. If the model has several outputs, a metric uses the
        constants of its own output. Losses such as `keras_lip.losses.EMMA` get
        estimates of the same constants in every step.

        Metrics of one class that differ in their epsilon are named after it,
        such as `certified_accuracy_0.1`, unless they have explicit names.

        Raises:
            ValueError: If two certified metrics have the same name, a certified
                metric is given for several outputs, or its output has no bound;
                if a loss such as `keras_lip.losses.EMMA` is given for several
                outputs, or for an output whose constants cannot be estimated.
        """
        loss = read_losses(loss)
        metrics = read_metrics(metrics)
        weighted_metrics = read_metrics(weighted_metrics)
        super().compile(  # type: ignore[misc]
            optimizer,
            loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            **kwargs,
        )
        if self._certifying.inference is not None:
            self._certifying.inference.forget_functions()
        self._certifying = _Hidden()
        self._certifying.estimates = self._find_estimates(loss)
        for index, certified in self._find_certified(metrics, weighted_metrics):
            for metric in certified:
                metric.bind(self)
            watch = EvaluationWatch(self, certified, index)
            self._certifying.watches.append(watch)
            watch.begin()

    def _find_estimates(
        self, loss: Any
    ) -> list[tuple[CertifiedLoss, PairEstimate]]:
        """Returns the losses that need constants, with their estimates."""
        found: list[tuple[CertifiedLoss, PairEstimate]] = []
        for index, listed in pair_with_outputs(self, loss).items():
            for each in listed:
                if not isinstance(each, CertifiedLoss) or (
                    each.lipschitz_bound is not None
                ):
                    continue
                if any(each is other for other, _ in found):
                    raise ValueError(
                        f"Loss '{each.name}' uses the constants of one output. "
                        "Received: the same loss for several outputs. Give "
                        "each output its own loss, by name or by position."
                    )
                found.append((each, PairEstimate(self, index)))
        return found

    def _find_certified(
        self, *sets: Any
    ) -> list[tuple[int, list[CertifiedMetric]]]:
        """Returns the certified metrics of each output that has any."""
        found: dict[int, list[CertifiedMetric]] = {}
        for given in sets:
            for index, listed in pair_with_outputs(self, given).items():
                found.setdefault(index, []).extend(
                    metric
                    for metric in listed
                    if isinstance(metric, CertifiedMetric)
                )
        seen: set[int] = set()
        for listed in found.values():
            own = {id(each) for each in listed if each.lipschitz_bound is None}
            if seen & own:
                raise ValueError(
                    "A certified metric has the constants of one output. "
                    "Received: one metric for several outputs. Give each "
                    "output its own metric, by name or by position."
                )
            seen |= own
        return [(index, listed) for index, listed in found.items() if listed]

    def compile_from_config(self, config: Config) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
        if getattr(self, "optimizer", None) is not None and self.built:  # type: ignore[attr-defined]
            self.optimizer.build(self.trainable_variables)  # type: ignore[attr-defined]

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Trains the model, as `keras.Model.fit` does.

        Certified metrics compute their constants at the start of training and
        of every validation.

        Raises:
            ValueError: If an input is not finite or a label is not a valid
                class. Arrays are checked before the first step, and data sets
                after it. Labels are checked for losses of this library.
        """
        names = list(inspect.signature(keras.Model.fit).parameters)[1:]
        kwargs.update(zip(names, args, strict=False))
        check_training_data(self, kwargs.get("x"), kwargs.get("y"))
        validation = kwargs.get("validation_data")
        if isinstance(validation, tuple) and len(validation) > 1:
            check_labels(self, validation[1])
        if has_own_loss(self):
            kwargs["callbacks"] = add_loss_guard(kwargs.get("callbacks"))
        kwargs["callbacks"] = add_watches(
            self._certifying.watches, kwargs.get("callbacks")
        )
        self._drop_stale("train_function")
        with self._use_constants(), keeping_weights(self):
            return super().fit(**kwargs)  # type: ignore[misc]

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates the model, as `keras.Model.evaluate` does.

        Raises:
            ValueError: If the model is not compiled; if a label in an array is
                not a valid class for a loss of this library; or if there are
                certified metrics and the evaluated model is not the proven one.
        """
        if not self.compiled:  # type: ignore[attr-defined]
            raise ValueError(
                f"Model '{self.name}' is not compiled. Call "  # type: ignore[attr-defined]
                "`model.compile(optimizer, loss, metrics)` first."
            )
        names = list(inspect.signature(keras.Model.evaluate).parameters)[1:]
        kwargs.update(zip(names, args, strict=False))
        check_labels(self, kwargs.get("y"))
        kwargs["callbacks"] = add_watches(
            self._certifying.watches, kwargs.get("callbacks")
        )
        with (
            self._use_constants(),
            self._hold_inference("test_function") as held,
        ):
            if held is not None:
                kwargs["callbacks"] = add_refresh(held, kwargs["callbacks"])
            with keeping_weights(self):
                return super().evaluate(**kwargs)  # type: ignore[misc]

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predicts outputs, as `keras.Model.predict` does.

        It computes with the current settings of layers, such as a factor or an
        activation, even if they have changed since the last call.

        Values that layers compute from their weights, such as kernels and
        steps, are computed once per call, and not again while the weights stay
        the same. They are computed in every batch if the model overrides `call`
        or `predict_step`, if a layer's `call` is defined neither by Keras nor
        by this library, or if there are replicas.
        """
        names = list(inspect.signature(keras.Model.predict).parameters)[1:]
        kwargs.update(zip(names, args, strict=False))
        with self._hold_inference("predict_function") as held:
            if held is not None:
                kwargs["callbacks"] = add_refresh(held, kwargs.get("callbacks"))
            with keeping_weights(self):
                return super().predict(**kwargs)  # type: ignore[misc]

    def predict_on_batch(self, x: Any) -> Any:
        """Predicts a batch, as `keras.Model.predict_on_batch` does."""
        with self._hold_inference("predict_function"):
            return super().predict_on_batch(x)  # type: ignore[misc]

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates a batch, as `keras.Model.test_on_batch` does."""
        with self._use_constants(), self._hold_inference("test_function"):
            for watch in self._certifying.watches:
                watch.begin()
            result = super().test_on_batch(*args, **kwargs)  # type: ignore[misc]
            for watch in self._certifying.watches:
                watch.end()
            return result

    @contextlib.contextmanager
    def _use_constants(self) -> Iterator[None]:
        """Makes a context whose end takes the constants from the metrics.

        They are those of this model's weights, and a metric may also be updated
        with the outputs of other models or weights.
        """
        watches = self._certifying.watches
        outermost = not any(watch.is_used for watch in watches)
        for watch in watches:
            watch.is_used = True
        try:
            yield
        finally:
            if outermost:
                for watch in watches:
                    watch.forget()

    @property
    def non_trainable_variables(self) -> list[Any]:
        """The variables that are not trained.

        During `predict` they include the variables that hold values computed by
        layers, because JAX's compiled functions read no other variables.
        """
        variables: list[Any] = super().non_trainable_variables  # type: ignore[misc]
        held = self._certifying.inference
        if held is None or not held.is_running:
            return variables
        return [*variables, *held.variables]

    @property
    def metrics_variables(self) -> list[Any]:
        """The variables of metrics, and the variables that losses read.

        The compiled steps of JAX read no other variables.
        """
        losses = keras.tree.flatten(getattr(self, "loss", None))
        return [
            *super().metrics_variables,  # type: ignore[misc]
            *(
                variable
                for loss in losses
                if isinstance(loss, CertifiedLoss)
                for variable in loss.variables
            ),
        ]

    def make_test_function(self, force: bool = False) -> Any:
        """Makes `test_function`, as `keras.Model.make_test_function` does."""
        self._forget_compiled(force)
        return super().make_test_function(force)  # type: ignore[misc]

    def make_predict_function(self, force: bool = False) -> Any:
        """Makes `predict_function`, as `keras.Model` does."""
        self._forget_compiled(force)
        return super().make_predict_function(force)  # type: ignore[misc]

    def _forget_compiled(self, force: bool) -> None:
        held = self._certifying.inference
        if force and held is not None:
            held.forget_functions()

    @contextlib.contextmanager
    def _hold_inference(self, name: str) -> Iterator[HeldInference | None]:
        """Makes a context in which kernels are computed only once.

        Args:
            name: String. Attribute of the compiled function that is called. A
                callback may run it within another one, which stays as it is.
        """
        self._drop_stale(name)
        held = self._certifying.inference
        if not can_hold(self):
            yield None
            return
        layers = find_constrained_layers([self])
        if held is None or held.layers != layers:
            held = HeldInference(self) if layers else None
            self._certifying.inference = held
        if held is None:
            yield None
            return
        with held.run():
            yield held

    def _drop_stale(self, name: str) -> None:
        """Drops a compiled function if settings of layers have changed.

        It contains the old settings, such as an activation or a factor, or the
        layers of a sequential model before one was added.
        """
        if self._certifying is LipschitzMixin._certifying:
            # Not compiled: the object of the class is shared by all models.
            self._certifying = _Hidden()
        settings = digest_settings(self)
        known = self._certifying.settings
        if known.setdefault(name, settings) != settings:
            setattr(self, name, None)
            if self._certifying.inference is not None:
                self._certifying.inference.forget_functions()
        known[name] = settings

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",
        verbose: Any = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Exports the model, as `keras.Model.export` does.

        The exported model computes its constrained kernels at every call and
        has no certificate. Use `keras_lip.models.export` to write a model with
        constant kernels and a certificate. TensorFlow cannot run a SavedModel
        that was written on JAX if a layer solves a linear system or factors a
        matrix, as `OrthogonalDense` and `BCOPConv2D` do.

        Raises:
            ValueError: If `format` is `"openvino"` and the model contains a
                layer of this library, because OpenVINO computes some power
                iterations incorrectly.
        """
        layers = self._flatten_layers()  # type: ignore[attr-defined]
        live = [each for each in layers if isinstance(each, LipschitzLayer)]
        if format == "openvino" and live:
            raise ValueError(
                "OpenVINO does not support every computation of a constrained "
                "kernel, and computes some of them incorrectly: the exported "
                "model might not be Lipschitz. Use `keras_lip.models.export`, "
                "or export the result of `keras_lip.models.materialize`. "
                f"Received: format={format!r}, with layer '{live[0].name}' of "
                f"type `{type(live[0]).__name__}`"
            )
        super().export(  # type: ignore[misc]
            filepath, format, verbose, input_signature, **kwargs
        )

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        if self._certifying.estimates or self._certifying.watches:
            check_scope(self)
        estimates: dict[int, Any] = {}
        with contextlib.ExitStack() as stack:
            for each, estimate in self._certifying.estimates:
                constants = estimate.compute(training)
                estimates[estimate.output] = constants
                stack.enter_context(each.using_constants(constants))
            loss = super().compute_loss(  # type: ignore[misc]
                x, y, y_pred, sample_weight, training=training
            )
        # On JAX this is the only method that sees a step's weights and may
        # change the variables of metrics.
        for watch in self._certifying.watches:
            if training:
                watch.follow_heads(estimates)
            else:
                watch.check_batch(x, y_pred)
        return loss
