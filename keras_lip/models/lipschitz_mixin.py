"""What Lipschitz models add to those of Keras."""

import dataclasses
from typing import Any

import keras

from keras_lip.bounds.find_norm import find_norm
from keras_lip.deep_recursion import deep_recursion
from keras_lip.metrics.certified_metric import CertifiedMetric
from keras_lip.types import Config


@dataclasses.dataclass(frozen=True)
class _BoundMetrics:
    """The certified metrics of a model, hidden from Keras's tracking.

    A list of them as an attribute would count each metric twice.
    """

    metrics: tuple[CertifiedMetric, ...] = ()

    def refresh(self) -> None:
        for metric in self.metrics:
            metric.refresh()

    def follow_head(self) -> None:
        for metric in self.metrics:
            metric.follow_head()


class LipschitzMixin:
    """Refuses layers without a bound, and binds metrics to the model."""

    _bound_metrics = _BoundMetrics()

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
        )
        for metric in certified:
            metric.bind(self)
        self._bound_metrics = _BoundMetrics(certified)
        self._bound_metrics.refresh()

    def compile_from_config(self, config: Config) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
        if getattr(self, "optimizer", None) is not None and self.built:  # type: ignore[attr-defined]
            self.optimizer.build(self.trainable_variables)  # type: ignore[attr-defined]

    def make_train_function(self, force: bool = False) -> Any:
        self._bound_metrics.refresh()
        return super().make_train_function(force)  # type: ignore[misc]

    def make_test_function(self, force: bool = False) -> Any:
        # Keras calls this once at the start of every evaluation.
        self._bound_metrics.refresh()
        return super().make_test_function(force)  # type: ignore[misc]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        if training:
            # The one place, on JAX, that sees a step's weights and may change
            # the variables of metrics.
            self._bound_metrics.follow_head()
        return super().compute_loss(  # type: ignore[misc]
            x, y, y_pred, sample_weight, training=training
        )
