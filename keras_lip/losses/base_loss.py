"""What all losses share: checked labels, sample weights and precision."""

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

    Raises:
        ValueError: If `dtype` is not a floating-point one, which would round
            scores, and leave no gradient.
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
                "`dtype` must be a floating-point one, such as 'float32'. "
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
            sample_weight = copy_sample_weight(sample_weight, y_pred)
        weights = read_sample_weights(sample_weight, y_pred, self.dtype)
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
