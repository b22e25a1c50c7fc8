"""Tells whether a step can read the weights of its model."""

import keras

from keras_lip.models.kept_weights import is_missing


def check_scope(model: keras.Model) -> None:
    """Raises an error if a step of JAX cannot read the weights of its model.

    Args:
        model: The model.

    Raises:
        ValueError: If the weights are not there.
    """
    if any(is_missing(weight) for weight in model.weights[:1]):
        raise ValueError(
            f"A step of model '{model.name}' calls `compute_loss` where its "
            "weights cannot be read, and its certified metrics or losses need "
            "them. Call `loss, variables = self.stateless_compute_loss("
            "trainable_variables, non_trainable_variables, metrics_variables, "
            "x=x, y=y, y_pred=y_pred, training=training)`, which also returns "
            "these variables after the call, and update the metrics from "
            "`variables[2]`."
        )
