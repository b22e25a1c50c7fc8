"""Crossentropy of perturbed features, for curvature heads."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.labels import to_one_hot
from keras_lip.linalg import power_iteration
from keras_lip.linalg import scale_to_one
from keras_lip.losses.base_loss import BaseLoss
from keras_lip.operators import DenseOperator
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_number
from keras_lip.validation import check_positive_integer

_POWER_ITERATIONS = 10


@keras.saving.register_keras_serializable(package="keras_lip")
class CurvatureCrossentropy(BaseLoss):
    """Crossentropy of a curvature head on adversarially perturbed features.

    The loss trains a `keras_lip.layers.CurvatureHead` together with its trunk,
    the 1-Lipschitz network that computes the features. Its `y_pred` are the
    *features*, and it applies the head itself. It moves the features of each
    sample by `radius` in the direction that increases the loss, which has a
    closed form, and returns the crossentropy there. No gradient flows through
    the perturbation.

    The loss adds `curvature_weight` times a lower estimate of `|W
    diag(r)^(1/2)|^2 / 4`, where `r` contains, for each hidden unit, the largest
    difference of two of its outer weights. This value bounds the curvature of
    all margins. The smaller it is, the more often a certificate is exact.

    Make the features an output of the model in addition to the logits, so that
    both the head and the trunk are trained:

    ```python
    head = keras_lip.layers.CurvatureHead(10, hidden_units=256)
    model = keras.Model(
        inputs, {"features": features, "logits": head(features)}
    )
    loss = keras_lip.losses.CurvatureCrossentropy(head, 36 / 255, 0.5)
    model.compile(
        "adam",
        loss={"features": loss},
        metrics={"logits": ["sparse_categorical_accuracy"]},
    )
    model.fit(x, {"features": y, "logits": y})
    classifier = keras.Model(model.input, model.output["logits"])
    ```

    Certify the classifier. After saving and loading, the loss of a model is no
    longer connected to its head: calling it raises an error until the model is
    compiled with a new loss.

    Args:
        head: The `keras_lip.layers.CurvatureHead` of the model.
        radius: Non-negative float. The l2 norm of the perturbation of the
            features.
        curvature_weight: Non-negative float. Factor of the curvature. Defaults
            to `0.0`.
        steps: Positive integer. Number of times the direction is computed, each
            time at the perturbed features. Defaults to `1`.
        reduction: String or `None`, as in `keras.losses.Loss`. Defaults to
            `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"curvature_crossentropy"`.
        dtype: Dtype of the loss. Defaults to `keras.config.floatx()`.

    Call arguments:
        y_true: Class indices of shape `(batch,)` or `(batch, 1)`, or one-hot
            rows of shape `(batch, classes)`.
        y_pred: Features of shape `(batch, input_dim)`.
        sample_weight: Weights of shape `()`, `(batch,)` or `(batch, 1)`.

    Raises:
        TypeError: If `head` is not a `CurvatureHead`.
        ValueError: If a number is out of range, if the head is not built or has
            fewer than two units, or if the shapes of `y_true` and `y_pred` do
            not match. If a label is not a class and its value is known; in a
            compiled step the loss is NaN instead.

    Example:

    >>> head = keras_lip.layers.CurvatureHead(3, hidden_units=8)
    >>> features = np.eye(4)
    >>> logits = head(features)
    >>> loss = keras_lip.losses.CurvatureCrossentropy(head, radius=0.1)
    >>> plain = keras_lip.losses.TemperatureSparseCategoricalCrossentropy()
    >>> labels = [0, 1, 2, 0]
    >>> bool(loss(labels, features) > plain(labels, logits))
    True

    Reference:

    - [Singla & Feizi, 2022](https://arxiv.org/abs/2211.08453), equation (7)
    """

    def __init__(
        self,
        head: Any,
        radius: float,
        curvature_weight: float = 0.0,
        steps: int = 1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "curvature_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        # Losses must not import layers, so the class is recognized by its
        # registered name.
        name_of_class = keras.saving.get_registered_name(type(head))
        if name_of_class != "keras_lip>CurvatureHead":
            raise TypeError(
                "`head` must be the `keras_lip.layers.CurvatureHead` of the "
                f"model. Received: head={head!r}"
            )
        if head.units < 2:
            raise ValueError(
                "`head` must have two units or more. Use two units for a "
                f"binary classifier. Received: head.units={head.units}"
            )
        self.head = head
        self.radius = check_number("radius", radius, 0.0)
        self.curvature_weight = check_number(
            "curvature_weight", curvature_weight, 0.0
        )
        self.steps = check_positive_integer("steps", steps)

    def encode(self, y_true: Any, y_pred: Tensor) -> Tensor:
        if not self.head.built:
            raise ValueError(
                "The head of the loss is not built, so it is not the head of "
                "the trained model. A loss that was loaded with its model has "
                "lost its head: create a new loss with the `CurvatureHead` of "
                "the model, and compile the model again. Received: "
                f"head={self.head!r}"
            )
        shape = tuple(y_pred.shape)
        input_dim = self.head.hidden_kernel.shape[0]
        if len(shape) != 2 or shape[1] != input_dim:
            raise ValueError(
                "`y_pred` must be the features that the head receives, of "
                f"shape (batch, {input_dim}), not its logits. Received: "
                f"y_pred.shape={shape}"
            )
        logits = keras.KerasTensor((shape[0], self.head.units))
        return to_one_hot(y_true, logits)

    def compute_losses(
        self, targets: Tensor, scores: Tensor, weights: Tensor
    ) -> Tensor:
        features = scores + self.perturb(targets, scores)
        losses = ops.categorical_crossentropy(
            targets, self._apply_head(features)[0], from_logits=True
        )
        if self.curvature_weight:
            curvature = ops.cast(self.curvature(), losses.dtype)
            losses = losses + self.curvature_weight * curvature
        return losses

    def perturb(self, targets: Tensor, features: Tensor) -> Tensor:
        """Returns the perturbations of features.

        Args:
            targets: Tensor of one-hot rows of shape `(batch, classes)`.
            features: Tensor of shape `(batch, input_dim)`.

        Returns:
            Tensor of the same shape as `features`. Its rows have norm `radius`.
            No gradient flows through it.
        """
        inner, outer = (
            ops.cast(kernel, features.dtype)
            for kernel in (self.head.hidden_kernel, self.head.kernel)
        )
        change = ops.zeros_like(features)
        for _ in range(self.steps):
            logits, hidden = self._apply_head(features + change)
            # The direction is the gradient of the mean margin of the other
            # classes, weighted by their probabilities. It is a multiple of the
            # crossentropy's gradient, but does not vanish in float32 for
            # confident predictions.
            others = ops.softmax(ops.where(targets > 0.5, -1e30, logits))
            slopes = ops.matmul(others - targets, ops.transpose(outer))
            slopes = slopes * ops.sigmoid(hidden)
            change = scale_to_one(
                ops.matmul(slopes, ops.transpose(inner)), axis=-1
            )
            squares = ops.sum(ops.square(change), axis=-1, keepdims=True)
            change = self.radius * change * ops.rsqrt(squares + 1e-12)
        return ops.stop_gradient(change)

    def curvature(self) -> Tensor:
        """Returns the lower estimate of the curvature of all margins."""
        kernel, outer = (
            ops.convert_to_tensor(kernel)
            for kernel in (self.head.hidden_kernel, self.head.kernel)
        )
        ranges = ops.max(outer, axis=1) - ops.min(outer, axis=1)
        start = np.random.default_rng(0).normal(size=(1, kernel.shape[0]))
        _, direction = power_iteration(
            DenseOperator(),
            ops.stop_gradient(kernel * ops.sqrt(ranges)),
            ops.convert_to_tensor(start, dtype=kernel.dtype),
            _POWER_ITERATIONS,
        )
        image = ops.matmul(direction, kernel)
        return ops.sum(ranges * ops.square(image)) / 4

    def _apply_head(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the logits and the inputs of the hidden units."""
        weights = (
            ops.cast(weight, features.dtype)
            for weight in (
                self.head.hidden_kernel,
                self.head.hidden_bias,
                self.head.kernel,
                self.head.bias,
            )
        )
        inner, inner_bias, outer, outer_bias = weights
        hidden = ops.matmul(features, inner) + inner_bias
        return ops.matmul(ops.softplus(hidden), outer) + outer_bias, hidden

    def get_config(self) -> Config:
        head: Config = keras.saving.serialize_keras_object(self.head)
        # Otherwise a copy of the head would be built and trained without
        # effect.
        head.pop("build_config", None)
        return {
            **super().get_config(),
            "head": head,
            "radius": self.radius,
            "curvature_weight": self.curvature_weight,
            "steps": self.steps,
        }

    @classmethod
    def from_config(cls, config: Config) -> "CurvatureCrossentropy":
        head = keras.saving.deserialize_keras_object(config["head"])
        return cls(**{**config, "head": head})
