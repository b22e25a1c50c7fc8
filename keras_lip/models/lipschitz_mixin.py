"""What Lipschitz models add to those of Keras."""

import inspect
from typing import Any

import keras

from keras_lip.bounds.find_norm import find_norm
from keras_lip.deep_recursion import deep_recursion
from keras_lip.metrics.certified_metric import CertifiedMetric
from keras_lip.models.evaluation_watch import EvaluationWatch
from keras_lip.models.evaluation_watch import add_watch
from keras_lip.types import Config


class _Hidden:
    """Holds a watch, hidden from Keras's tracking.

    A list of metrics as an attribute would count each of them twice.
    """

    def __init__(self, watch: EvaluationWatch | None = None) -> None:
        self.watch = watch


class LipschitzMixin:
    """Refuses layers without a bound, and binds metrics to the model."""

    _certifying = _Hidden()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with deep_recursion():
            super().__init__(*args, **kwargs)
        if isinstance(self, keras.Function):
            find_norm(self)

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

        Takes the arguments of `keras.Model.compile`. A
        `keras_lip.metrics.CertifiedAccuracy` and its like are bound to this
        model: its constants are measured at the start of every evaluation.
        """
        super().compile(  # type: ignore[misc]
            optimizer,
            loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            **kwargs,
        )
        certified = tuple(
            metric
            for metric in keras.tree.flatten([metrics, weighted_metrics])
            if isinstance(metric, CertifiedMetric)
            and metric.lipschitz_bound is None
        )
        for metric in certified:
            metric.bind(self)
        self._certifying = _Hidden()
        if certified:
            self._certifying.watch = EvaluationWatch(self, certified)
            self._certifying.watch.begin()

    def compile_from_config(self, config: Config) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
        if getattr(self, "optimizer", None) is not None and self.built:  # type: ignore[attr-defined]
            self.optimizer.build(self.trainable_variables)  # type: ignore[attr-defined]

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Trains the model, as `keras.Model.fit` does.

        Certified metrics take their constants at the start, and at the start of
        every evaluation in between.
        """
        watch = self._certifying.watch
        if watch is not None:
            names = list(inspect.signature(keras.Model.fit).parameters)[1:]
            kwargs.update(zip(names, args, strict=False))
            args = ()
            kwargs["callbacks"] = add_watch(watch, kwargs.get("callbacks"))
        return super().fit(*args, **kwargs)  # type: ignore[misc]

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates the model, as `keras.Model.evaluate` does.

        Raises:
            ValueError: If there are certified metrics, and what was evaluated
                is not what was proven.
        """
        watch = self._certifying.watch
        if watch is not None:
            names = list(inspect.signature(keras.Model.evaluate).parameters)[1:]
            kwargs.update(zip(names, args, strict=False))
            args = ()
            kwargs["callbacks"] = add_watch(watch, kwargs.get("callbacks"))
        return super().evaluate(*args, **kwargs)  # type: ignore[misc]

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates a batch, as `keras.Model.test_on_batch` does."""
        watch = self._certifying.watch
        if watch is None:
            return super().test_on_batch(*args, **kwargs)  # type: ignore[misc]
        watch.begin()
        result = super().test_on_batch(*args, **kwargs)  # type: ignore[misc]
        watch.end()
        return result

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        loss = super().compute_loss(  # type: ignore[misc]
            x, y, y_pred, sample_weight, training=training
        )
        # The one place, on JAX, that sees a step's weights and may change the
        # variables of metrics.
        watch = self._certifying.watch
        if watch is not None and training:
            watch.follow_heads()
        elif watch is not None:
            watch.run_probes()
        return loss
