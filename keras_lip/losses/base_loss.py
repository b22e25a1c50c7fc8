"""What all losses share: checked labels, sample weights and precision."""

import abc
from typing import Any
from typing import NamedTuple

import keras
from keras import ops

from keras_lip.types import Config
from keras_lip.types import Tensor


class BaseLoss(keras.losses.Loss, abc.ABC):
    """Loss of one score for each sample, or of one for each of its classes.

    Subclasses say how labels are encoded and what each sample's loss is, in at
    least float32 whatever the dtype of the scores. Reductions, weights and
    masks are those of `keras.losses.Loss`.

    A label that is none of the classes is an error where its value is known:
    on PyTorch, in eager execution and under `run_eagerly=True`. PyTorch then
    waits for one boolean at each step. In a compiled step of TensorFlow, JAX or
    `torch.compile`, where nothing can be raised, it makes the loss NaN and adds
    nothing to its gradient.

    Args:
        reduction: String or `None`, as in `keras.losses.Loss`.
        name: String. Name of the loss.
        dtype: Dtype of the loss. Defaults to `keras.config.floatx()`.
    """

    @abc.abstractmethod
    def encode(self, y_true: Any, y_pred: Tensor) -> Tensor:
        """Checks labels against scores and encodes them.

        Args:
            y_true: Labels, as passed to the loss.
            y_pred: Tensor of scores, as passed to the loss.

        Returns:
            Tensor of shape `(batch, classes)`, or `(batch, 1)` for binary
            labels. The row of a wrong label is NaN.

        Raises:
            ValueError: If the shapes do not fit or a label is no class.
        """

    @abc.abstractmethod
    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        """Returns the loss of each sample.

        Args:
            targets: Tensor of encoded labels.
            scores: Tensor of two axes, `y_pred` as passed to the loss. Scores
                of shape `(batch,)` come as `(batch, 1)`.
            weights: Tensor of shape `(batch, 1)`. The weights of the samples,
                for losses that compare means; the others leave them to Keras,
                which multiplies the result by them.

        Returns:
            Tensor of shape `(batch,)`.
        """

    # `keras.losses.Loss` shows weights and masks only to its reduction, but the
    # mean of a class must leave out the samples that they leave out.
    def __call__(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> Tensor:
        if not hasattr(y_pred, "shape"):
            y_pred = ops.convert_to_tensor(y_pred)
        targets = self.encode(y_true, y_pred)
        if sample_weight is not None:
            sample_weight = _one_for_each_sample(sample_weight, y_pred)
        read_weights = _SampleWeights(reduction="none", dtype=self.dtype)
        weights = read_weights(y_pred, y_pred, sample_weight)
        return super().__call__(
            _Labels(targets, weights), y_pred, sample_weight
        )

    def call(self, y_true: Any, y_pred: Tensor) -> Tensor:
        if not isinstance(y_true, _Labels):
            targets = self.encode(y_true, y_pred)
            y_true = _Labels(targets, ops.ones_like(targets[:, 0]))
        # Counts and sums overflow in float16, and are rounded in bfloat16.
        dtype = "float64" if self.dtype == "float64" else "float32"
        targets = ops.cast(y_true.targets, dtype)
        weights = ops.expand_dims(ops.cast(y_true.weights, dtype), axis=-1)
        scores = ops.cast(y_pred, dtype)
        if len(scores.shape) == 1:
            scores = ops.expand_dims(scores, axis=-1)
        # A wrong label makes the loss NaN, and leaves its gradient finite: the
        # weights of a training that is stopped by it are whole.
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
    """What `call` receives as `y_true`."""

    targets: Tensor
    weights: Tensor


class _SampleWeights(keras.losses.Loss):
    """Loss of one for each sample: weighted by Keras, it is the weights."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return _ones(y_pred)


def _ones(y_pred: Tensor) -> Tensor:
    return ops.ones_like(y_pred if len(y_pred.shape) == 1 else y_pred[:, 0])


def _one_for_each_sample(sample_weight: Any, y_pred: Tensor) -> Tensor:
    """Checks weights, and copies them to a tensor of shape `(batch,)`.

    Keras multiplies weights by masks in place on PyTorch, and divides a mean by
    the sum of the weights, which of a single number is that number.
    """
    sample_weight = ops.convert_to_tensor(sample_weight)
    shape, batch = tuple(sample_weight.shape), y_pred.shape[0]
    fits = not shape or shape[0] in (1, batch) or None in (shape[0], batch)
    if len(shape) > 2 or shape[1:] not in ((), (1,)) or not fits:
        raise ValueError(
            "`sample_weight` must be a number or have shape (batch,) or "
            f"(batch, 1). Received: sample_weight.shape={shape}, "
            f"y_pred.shape={tuple(y_pred.shape)}"
        )
    ones = _ones(ops.convert_to_tensor(y_pred))
    dtype = keras.backend.result_type(ones.dtype, sample_weight.dtype)
    return ops.cast(ones, dtype) * ops.reshape(
        ops.cast(sample_weight, dtype), (-1,)
    )
