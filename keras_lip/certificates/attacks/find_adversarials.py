"""Searches for the nearest input with another class."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.certificates.attacks.foolbox_attacks import make_attacks
from keras_lip.certificates.attacks.foolbox_attacks import to_foolbox_model
from keras_lip.certificates.attacks.foolbox_attacks import to_native
from keras_lip.certificates.attacks.perturbation_ball import batch_norms
from keras_lip.certificates.margins import predict_labels
from keras_lip.data import check_bounds
from keras_lip.data import check_inside
from keras_lip.data import iterate_batches
from keras_lip.proofs.norms import check_norm
from keras_lip.types import Array
from keras_lip.validation import check_positive_integer

# Number of bisections between a sample and the result of an attack.
_HALVINGS = 16


@dataclasses.dataclass(frozen=True)
class Adversarials:
    """Adversarial inputs, one for each sample.

    Their distances are upper bounds on the distance of the nearest input with
    another class. A certified radius is a lower bound.

    Args:
        inputs: Float32 array of shape `(num_samples, *input_shape)`. The sample
            itself where no attack succeeded.
        labels: Integer array of shape `(num_samples,)`. The classes predicted
            for these inputs.
        distances: Float64 array of shape `(num_samples,)`. Distances from the
            samples in the norm, infinite where no attack succeeded.
        norm: `"l2"` or `"linf"`.
    """

    inputs: Array
    labels: Array
    distances: Array
    norm: str


def find_adversarials(
    model: keras.Model,
    x: Any,
    bounds: tuple[float, float] = (0.0, 1.0),
    steps: int = 100,
    batch_size: int = 256,
    norm: str = "l2",
) -> Adversarials:
    """Searches for the nearest inputs with another predicted class.

    DeepFool (Moosavi-Dezfooli et al., 2016) and, in l2, DDN (Rony et al., 2019)
    search within `bounds`. Each result is moved towards the sample as long as
    its class stays different, and the closest result is kept. Its distance is
    an upper bound on the distance of the nearest input with another class; the
    certified radius is a lower bound.

    Args:
        model: A classifier of logits of shape `(batch_size, classes)` or
            `(batch_size, 1)`.
        x: Array of inputs, or an iterable of batches.
        bounds: Pair of floats. Smallest and largest value of an input entry.
            Defaults to `(0.0, 1.0)`.
        steps: Positive integer. Steps of each attack. Defaults to `100`.
        batch_size: Positive integer. Number of samples attacked at a time.
            Defaults to `256`.
        norm: `"l2"` or `"linf"`. Norm of the distances. Defaults to `"l2"`.

    Returns:
        `Adversarials`.

    Raises:
        ImportError: If the extra `attacks` is not installed.
        ValueError: If an argument is out of range, or an input is not finite or
            outside `bounds`.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> found = keras_lip.certificates.find_adversarials(model, [[0.2, 0.6]])

    Reference:

    - [Rauber et al., 2020](https://doi.org/10.21105/joss.02607), foolbox
    """
    steps = check_positive_integer("steps", steps)
    batch_size = check_positive_integer("batch_size", batch_size)
    attacks = make_attacks(check_norm(norm), steps).minimal
    bounds = check_bounds(bounds)
    target = to_foolbox_model(model, bounds)

    def predict(inputs: Array) -> Array:
        native, _ = to_native(inputs, np.zeros(len(inputs), "int64"))
        return predict_labels(ops.convert_to_numpy(target(native)))

    parts = []
    for inputs, _ in iterate_batches(model, x, None, batch_size):
        inputs = inputs.astype("float32")
        check_inside(inputs, bounds)
        labels = predict(inputs)
        nearest, distances = inputs.copy(), np.full(len(inputs), np.inf)
        for attack in attacks.values():
            _, found, _ = attack(
                target, *to_native(inputs, labels), epsilons=None
            )
            found = _approach(
                predict, inputs, ops.convert_to_numpy(found), labels
            )
            away = batch_norms(found.astype("float64") - inputs, norm)
            nearer = (predict(found) != labels) & (away < distances)
            nearest[nearer], distances[nearer] = found[nearer], away[nearer]
        parts.append((nearest, predict(nearest), distances))
    inputs, labels, distances = map(np.concatenate, zip(*parts, strict=True))
    return Adversarials(inputs, labels, distances, norm)


def _approach(predict: Any, start: Array, end: Array, labels: Array) -> Array:
    """Moves points towards the samples while their classes differ."""
    near, far = np.zeros(len(start)), np.ones(len(start))
    shape = (-1, *[1] * (start.ndim - 1))
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        points = start + middle.reshape(shape) * (end - start)
        other = predict(points.astype("float32")) != labels
        near, far = np.where(other, near, middle), np.where(other, middle, far)
    points = start + far.reshape(shape) * (end - start)
    return np.asarray(points, dtype="float32")
