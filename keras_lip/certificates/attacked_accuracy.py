"""Accuracy under real attacks, an upper bound of what can be certified."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.certificates.batches import iterate_batches
from keras_lip.certificates.labels import to_sparse_labels
from keras_lip.validation import check_number
from keras_lip.validation import check_positive_integer


def attacked_accuracy(
    model: keras.Model,
    x: Any,
    y: Any = None,
    epsilons: Sequence[float] = (36 / 255, 72 / 255, 108 / 255),
    bounds: tuple[float, float] = (0.0, 1.0),
    steps: int = 40,
    batch_size: int = 256,
) -> dict[float, float]:
    """Measures a classifier's accuracy under the L2 attacks of foolbox.

    A sample counts as correct at a radius if none of projected gradient descent
    (Madry et al., 2018), DeepFool (Moosavi-Dezfooli et al., 2016) and DDN (Rony
    et al., 2019) finds an input within the radius, and within `bounds`, that is
    classified otherwise. The last two do not fail where a confident network's
    crossentropy has no gradient left.

    Args:
        model: A classifier of logits of shape `(batch_size, classes)`, with at
            least two classes.
        x: Array of inputs; or an iterable of batches `(inputs, labels)`.
        y: Array of labels: class indices or one-hot.
        epsilons: Radii of the perturbations, in the l2 norm.
        bounds: Least and greatest value of an entry of the input.
        steps: Positive integer. Steps of each attack.
        batch_size: Positive integer. Number of samples attacked at a time.

    Returns:
        Dict that maps each epsilon to an accuracy.

    Raises:
        ImportError: If the extra `attacks` is not installed.
        ValueError: If an argument is out of range, or labels are missing or of
            the wrong shape.

    Reference:

    - [Rauber et al., 2020](https://doi.org/10.21105/joss.02607), foolbox
    """
    radii = [check_number("epsilons", value, 0.0) for value in epsilons]
    steps = check_positive_integer("steps", steps)
    batch_size = check_positive_integer("batch_size", batch_size)
    foolbox = _import_foolbox()
    attacks = (
        foolbox.attacks.L2ProjectedGradientDescentAttack(steps=steps),
        foolbox.attacks.L2DeepFoolAttack(steps=steps),
        foolbox.attacks.DDNAttack(steps=steps),
    )
    target = _to_foolbox_model(foolbox, model, bounds)
    classes = model.output_shape[-1]
    survivors: list[Any] = []
    for inputs, labels in iterate_batches(x, y, batch_size):
        if labels is None:
            raise ValueError("`y` must be given to measure an accuracy.")
        labels = to_sparse_labels(labels, classes)
        native = (
            ops.convert_to_tensor(inputs, dtype="float32"),
            ops.convert_to_tensor(labels, dtype=_label_dtype()),
        )
        robust = _predict(model, native[0]) == labels
        robust = np.repeat(robust[None], len(radii), axis=0)
        for attack in attacks:
            _, _, success = attack(target, *native, epsilons=radii)
            robust &= ~ops.convert_to_numpy(success).astype(bool)
        survivors.append(robust)
    shares = np.concatenate(survivors, axis=1).mean(axis=1)
    return dict(zip(radii, shares.tolist(), strict=True))


def _label_dtype() -> str:
    # PyTorch's crossentropy takes nothing shorter; JAX has nothing longer.
    return "int32" if keras.backend.backend() == "jax" else "int64"


def _predict(model: keras.Model, inputs: Any) -> Any:
    return np.argmax(
        ops.convert_to_numpy(model(inputs, training=False)), axis=-1
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


def _to_foolbox_model(
    foolbox: Any, model: keras.Model, bounds: tuple[float, float]
) -> Any:
    """Wraps a model for foolbox, which has one class for each backend."""

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
