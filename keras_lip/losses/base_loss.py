"""The base class of losses: label checks, sample weights and precision."""

import abc
from typing import Any
from typing import NamedTuple

import keras
from keras import ops

from keras_lip.losses.sample_weights import copy_sample_weight
from keras_lip.losses.sample_weights import read_sample_weights
from keras_lip.types import Config
from keras_lip.types import Tensor


class BaseLoss(keras.losses.Loss, abc.ABC):
    """Base class of losses of one score, or one score per class, per sample.

    Subclasses implement `encode` for labels and `compute_losses` for the loss
    of each sample. Losses are computed in at least float32, for any dtype of
    the scores. Reductions, weights and masks work as in `keras.losses.Loss`.

    An invalid label raises an error if its value is known: on PyTorch, in eager
    execution and under `run_eagerly=True`. On PyTorch this check waits for one
    boolean at each step. A compiled step of TensorFlow, JAX or `torch.compile`
    cannot raise an error. There an invalid label makes the loss NaN and adds
    nothing to the gradient.

    Args:
        reduction: String or `None`, as in `keras.losses.Loss`.
        name: String. Name of the loss.
        dtype: Dtype of the loss. Defaults to `keras.config.floatx()`.

    Raises:
        ValueError: If `dtype` is not a floating-point dtype.
    """

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if not keras.backend.is_float_dtype(self.dtype):
            raise ValueError(
                "`dtype` must be a floating-point dtype, such as 'float32'. "
                f"Received: dtype={dtype!r}"
            )

    @abc.abstractmethod
    def encode(self, y_true: Any, y_pred: Tensor) -> Tensor:
        """Checks labels against scores and encodes them.

        Args:
            y_true: Labels, as passed to the loss.
            y_pred: Tensor of scores, as passed to the loss.

        Returns:
            Tensor of shape `(batch, classes)`, or `(batch, 1)` for binary
            labels. The row of an invalid label is NaN.

        Raises:
            ValueError: If the shapes do not match or a label is not a class.
        """

    @abc.abstractmethod
    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        """Returns the loss of each sample.

        Args:
            targets: Tensor of encoded labels.
            scores: Tensor with two axes: the argument `y_pred` of the loss.
                Scores of shape `(batch,)` are reshaped to `(batch, 1)`.
            weights: Tensor of shape `(batch, 1)`. Weights of the samples, for
                losses that compare means. Other losses ignore them, because
                Keras multiplies the result by them.

        Returns:
            Tensor of shape `(batch,)`.
        """

    # `keras.losses.Loss` passes weights and masks only to its reduction, but
    # the mean of a class must also exclude the samples that they exclude.
    def __call__(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> Tensor:
        if not hasattr(y_pred, "shape"):
            y_pred = ops.convert_to_tensor(y_pred)
        targets = self.encode(y_true, y_pred)
        if sample_weight is not None:
            sample_weight = copy_sample_weight(sample_weight, y_pred)
        weights = read_sample_weights(sample_weight, y_pred, self.dtype)
        return super().__call__(
            _Labels(targets, weights), y_pred, sample_weight
        )

    def call(self, y_true: Any, y_pred: Tensor) -> Tensor:
        if not isinstance(y_true, _Labels):
            targets = self.encode(y_true, y_pred)
            y_true = _Labels(targets, ops.ones_like(targets[:, 0]))
        # Counts and sums would overflow in float16 and be rounded in bfloat16.
        dtype = "float64" if self.dtype == "float64" else "float32"
        targets = ops.cast(y_true.targets, dtype)
        weights = ops.expand_dims(ops.cast(y_true.weights, dtype), axis=-1)
        scores = ops.cast(y_pred, dtype)
        if len(scores.shape) == 1:
            scores = ops.expand_dims(scores, axis=-1)
        # An invalid label makes the loss NaN but keeps its gradient finite, so
        # that the weights are still finite when training stops.
        unknown = ops.any(ops.isnan(targets), axis=-1, keepdims=True)
        losses = self.compute_losses(
            ops.where(unknown, 0.0, targets),
            scores,
            ops.where(unknown, 0.0, weights),
        )
        return ops.where(ops.squeeze(unknown, -1), float("nan"), losses)

    def get_config(self) -> Config:
        return {**super().get_config(), "dtype": self.dtype}


class _Labels(NamedTuple):
    """The argument `y_true` of `call`."""

    targets: Tensor
    weights: Tensor
