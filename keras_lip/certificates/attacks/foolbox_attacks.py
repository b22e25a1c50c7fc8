"""The attacks of foolbox, and wrappers of models for foolbox."""

import warnings
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_lip.certificates.attacks.perturbation_ball import batch_norms
from keras_lip.types import Array

# Steps of the search between a sample and an image of noise.
_NOISE_STEPS = 50


class FoolboxAttacks(NamedTuple):
    """Attacks in one norm, by name.

    Attributes:
        bounded: Attacks that search within a radius.
        minimal: Attacks that search for the nearest input with another class.
        others: Attacks that only run if they are named.
    """

    bounded: dict[str, Any]
    minimal: dict[str, Any]
    others: dict[str, Any]


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
            {
                "pgd_cw": _with_margin_loss(
                    attacks.LinfProjectedGradientDescentAttack
                )(steps=steps),
            },
        )
    return FoolboxAttacks(
        {"pgd": attacks.L2ProjectedGradientDescentAttack(steps=steps)},
        {
            "deepfool": attacks.L2DeepFoolAttack(steps=steps),
            "ddn": attacks.DDNAttack(init_epsilon=radius, steps=steps),
        },
        {
            "boundary": DecisionAttack(attacks.BoundaryAttack(steps=steps)),
            "fgsm": attacks.L2FastGradientAttack(),
            "pgd_cw": _with_margin_loss(
                attacks.L2ProjectedGradientDescentAttack
            )(steps=steps),
            "pointwise": DecisionAttack(attacks.PointwiseAttack()),
        },
    )


class DecisionAttack:
    """Runs an attack that only sees decisions, in the l2 norm.

    It starts between the sample and an image of uniform noise that has another
    class. Samples for which no such image is found are not attacked.

    Args:
        attack: A foolbox attack that takes `starting_points`.
    """

    def __init__(self, attack: Any) -> None:
        self._attack = attack

    def __call__(
        self, target: Any, inputs: Any, labels: Any, epsilons: Sequence[float]
    ) -> tuple[None, None, Array]:
        """Returns, as third value, the success by radius and sample."""
        foolbox = _import_foolbox()
        # Its attacks change arrays in ways that only NumPy and PyTorch support.
        model = foolbox.NumPyModel(
            lambda points: ops.convert_to_numpy(
                target(ops.convert_to_tensor(points, dtype="float32"))
            ),
            target.bounds,
        )
        samples, classes = map(ops.convert_to_numpy, (inputs, labels))
        noise = foolbox.attacks.LinearSearchBlendedUniformNoiseAttack(
            steps=_NOISE_STEPS
        )
        with warnings.catch_warnings():
            # Samples without a starting point.
            warnings.filterwarnings("ignore", ".*failed to draw sufficient")
            start = noise.run(
                model, samples, foolbox.criteria.Misclassification(classes)
            )
        away = np.full(len(samples), np.inf)
        chosen = np.flatnonzero(model(start).argmax(axis=1) != classes)
        if len(chosen):
            # The boundary attack divides counts that may be zero.
            with np.errstate(invalid="ignore", divide="ignore"):
                found = self._attack.run(
                    model,
                    samples[chosen],
                    foolbox.criteria.Misclassification(classes[chosen]),
                    starting_points=start[chosen],
                )
            wrong = model(found).argmax(axis=1) != classes[chosen]
            moved = batch_norms(found.astype("float64") - samples[chosen], "l2")
            away[chosen] = np.where(wrong, moved, np.inf)
        return None, None, away <= np.asarray(epsilons)[:, np.newaxis]


def _with_margin_loss(attack_cls: Any) -> Any:
    """Returns the class of an attack that increases the negative margin.

    The loss is the largest other logit minus the label's logit, the loss of
    Carlini & Wagner (2017). Unlike the crossentropy, its gradient does not
    vanish for a confident network.
    """
    import eagerpy

    class MarginAttack(attack_cls):
        def get_loss_fn(self, model: Any, labels: Any) -> Any:
            def compute_loss(inputs: Any) -> Any:
                logits = model(inputs)
                label = eagerpy.onehot_like(logits, labels)
                others = (logits - 1e30 * label).max(axis=-1)
                return (others - (logits * label).sum(axis=-1)).sum()

            return compute_loss

    return MarginAttack


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
