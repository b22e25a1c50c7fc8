"""The attacks of foolbox, and wrappers of models for foolbox."""

from typing import Any
from typing import NamedTuple

import keras
from keras import ops

from keras_lip.types import Array


class FoolboxAttacks(NamedTuple):
    """Attacks in one norm, by name.

    Attributes:
        bounded: Attacks that search within a radius.
        minimal: Attacks that search for the nearest input with another class.
    """

    bounded: dict[str, Any]
    minimal: dict[str, Any]


def make_attacks(norm: str, steps: int, radius: float = 1.0) -> FoolboxAttacks:
    """Makes the attacks in a norm.

    Args:
        norm: `"l2"` or `"linf"`.
        steps: Positive integer. Steps of each attack.
        radius: Float. Initial radius of attacks that search for a distance.

    Returns:
        `FoolboxAttacks`.

    Raises:
        ImportError: If the extra `attacks` is not installed.
    """
    attacks = _import_foolbox().attacks
    if norm == "linf":
        return FoolboxAttacks(
            {
                "pgd": attacks.LinfProjectedGradientDescentAttack(steps=steps),
                "fgsm": attacks.LinfFastGradientAttack(),
            },
            {"deepfool": attacks.LinfDeepFoolAttack(steps=steps)},
        )
    return FoolboxAttacks(
        {"pgd": attacks.L2ProjectedGradientDescentAttack(steps=steps)},
        {
            "deepfool": attacks.L2DeepFoolAttack(steps=steps),
            "ddn": attacks.DDNAttack(init_epsilon=radius, steps=steps),
        },
    )


def to_foolbox_model(model: keras.Model, bounds: tuple[float, float]) -> Any:
    """Wraps a model in foolbox's class for the active backend.

    Args:
        model: A classifier.
        bounds: Pair of floats. Smallest and largest value of an input entry.

    Returns:
        A foolbox model. It has two logits if the model has one.

    Raises:
        ImportError: If the extra `attacks` is not installed.
        NotImplementedError: If foolbox does not support the backend.
    """
    foolbox = _import_foolbox()
    model = _with_two_logits(model)

    def predict(inputs: Any) -> Any:
        return model(inputs, training=False)

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        device = (
            "/GPU:0" if tf.config.list_physical_devices("GPU") else "/CPU:0"
        )
        return foolbox.TensorFlowModel(tf.function(predict), bounds, device)
    if backend == "jax":
        import jax

        return foolbox.JAXModel(jax.jit(predict), bounds)
    if backend == "torch":
        return foolbox.PyTorchModel(model.eval(), bounds)
    raise NotImplementedError(
        "Attacks run on the tensorflow, jax and torch backends. Received: "
        f"backend={backend!r}"
    )


def to_native(inputs: Array, labels: Array) -> tuple[Any, Any]:
    """Converts inputs and labels to the tensors that foolbox takes."""
    # PyTorch's crossentropy needs int64, but JAX only has int32 by default.
    integer = "int32" if keras.backend.backend() == "jax" else "int64"
    return (
        ops.convert_to_tensor(inputs, dtype="float32"),
        ops.convert_to_tensor(labels, dtype=integer),
    )


def _with_two_logits(model: keras.Model) -> keras.Model:
    """Returns a model with at least two logits."""
    if model.output_shape[-1] != 1:
        return model
    inputs = keras.Input(batch_shape=model.input_shape)
    outputs = model(inputs)
    return keras.Model(
        inputs, ops.concatenate([ops.zeros_like(outputs), outputs], axis=-1)
    )


def _import_foolbox() -> Any:
    try:
        import foolbox
    except ImportError as error:
        raise ImportError(
            "Attacks need `foolbox`. Install the extra `attacks`: "
            'pip install "keras-lip[attacks]"'
        ) from error
    return foolbox
