"""The Fisher information of a classifier's probabilities at its inputs."""

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_lip.data import iterate_batches
from keras_lip.live_model import LiveModel
from keras_lip.types import Array
from keras_lip.validation import check_number


@dataclasses.dataclass(frozen=True)
class FisherInformation:
    """The Fisher information of probabilities, as a matrix on the inputs.

    `keras_lip.explanations.fisher_information` returns it.

    Attributes:
        probabilities: Float64 array of shape `(num_samples, classes)`.
        eigenvalues: Float64 array of shape `(num_samples, classes)`. The
            largest eigenvalues of the matrix at each input, in descending
            order. If there are fewer input entries than classes, the number of
            entries replaces the number of classes.
        directions: Float64 array of shape `(num_samples, classes,
            *input_shape)`. The eigenvectors, of norm one.
        rank: Integer array of shape `(num_samples,)`. Number of eigenvalues
            above rounding errors, at most the number of classes minus one.
    """

    probabilities: Array
    eigenvalues: Array
    directions: Array
    rank: Array


def fisher_information(
    model: keras.Model, x: Any, temperature: float = 1.0
) -> FisherInformation:
    """Computes the spectrum of the Fisher information on the inputs.

    The probabilities are `p = softmax(temperature * logits)`. With the Jacobian
    `J` of the scaled logits, the Fisher information `G = diag(p) - p p^T` of
    the softmax becomes the matrix `J^T G J` on the inputs. A small step `d` of
    the input moves the probabilities by the distance `sqrt(d^T J^T G J d)`, see
    `keras_lip.certificates.fisher_rao_distance`. The rank is at most the number
    of classes minus one: all other directions do not change the probabilities
    to first order. If the logits are `L`-Lipschitz in l2, no eigenvalue exceeds
    `(temperature * L)^2 / 2`.

    The spectrum explains predictions, but proves nothing. Gradients are
    computed with the live model, in full precision.

    Args:
        model: A built classifier of logits of shape `(batch_size, classes)`,
            with at least two classes.
        x: Array of inputs, or an iterable of batches.
        temperature: Positive float. Factor of the logits. Defaults to `1.0`.

    Returns:
        A `FisherInformation`.

    Raises:
        ValueError: If the model does not return logits of at least two classes,
            `temperature` is not positive, there are no inputs, or an input is
            not finite.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((4,)), keras_lip.layers.UnitNormDense(3)]
    ... )
    >>> x = np.ones((1, 4))
    >>> found = keras_lip.explanations.fisher_information(model, x)
    >>> found.eigenvalues.shape, int(found.rank[0])
    ((1, 3), 2)

    Reference:

    - [Amari, 2016](https://doi.org/10.1007/978-4-431-55978-8)
    - [Zhao et al., 2019](https://arxiv.org/abs/1810.03806), for attacks along
      the first eigenvector
    """
    temperature = check_number("temperature", temperature, 0.0, open_low=True)
    batches = [each for each, _ in iterate_batches(model, x, None, 32)]
    live = LiveModel(model)
    parts = [_decompose(model, live, each, temperature) for each in batches]
    joined = (np.concatenate(each) for each in zip(*parts, strict=True))
    return FisherInformation(*joined)


def _decompose(
    model: keras.Model, live: LiveModel, inputs: Array, temperature: float
) -> tuple[Array, Array, Array, Array]:
    logits = live(inputs)
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(
            f"Model '{model.name}' must return logits of at least two classes, "
            "of shape `(batch_size, classes)`. Received: outputs of shape "
            f"{logits.shape}"
        )
    count, classes = logits.shape
    scaled = temperature * logits
    powers = np.exp(scaled - np.max(scaled, axis=1, keepdims=True))
    probabilities = powers / np.sum(powers, axis=1, keepdims=True)
    rows = [
        live.pull_back(inputs, np.tile(row, (count, 1))).reshape(count, -1)
        for row in np.eye(classes)
    ]
    jacobian = temperature * np.stack(rows, axis=1)
    # `G = B B^T` with `B = diag(sqrt(p)) - p sqrt(p)^T`.
    mean = np.einsum("nc,nci->ni", probabilities, jacobian)
    factor = np.sqrt(probabilities)[..., None] * (jacobian - mean[:, None])
    _, values, vectors = np.linalg.svd(factor, full_matrices=False)
    # The size of the rounding errors of float32 gradients.
    size = np.linalg.norm(jacobian, axis=(1, 2))[:, None]
    rank = np.sum(values > 2.0**-20 * size, axis=1)
    directions = vectors.reshape(count, -1, *inputs.shape[1:])
    return (
        probabilities,
        np.square(values),
        directions,
        np.minimum(rank, classes - 1),
    )
