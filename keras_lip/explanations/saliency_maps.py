"""Computes saliency maps, the input gradients of a classifier."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_lip.data import iterate_batches
from keras_lip.explanations.saliency import Saliency
from keras_lip.live_model import LiveModel
from keras_lip.types import Array


def saliency_maps(
    model: keras.Model,
    x: Any,
    classes: Sequence[int] | None = None,
    ordinary: keras.Model | None = None,
) -> Saliency:
    """Differentiates the logits of a classifier with respect to its inputs.

    The gradient of a class's logit shows how to change an input so that the
    model is more confident of the class. For 1-Lipschitz networks that preserve
    gradient norms it often resembles the class, like the direction to the
    nearest input of another class. For ordinary networks it looks like noise.
    Saliency maps explain predictions, but prove nothing.

    Gradients are computed with the live model, in full precision.

    Args:
        model: A built classifier of logits.
        x: Array of a few inputs. Each one gets a picture.
        classes: Indices of the classes to differentiate. Defaults to `None`,
            for all classes.
        ordinary: A classifier of the same inputs and classes to compare the
            model with. It needs no Lipschitz bound. Defaults to `None`.

    Returns:
        A `Saliency`. Set it as `CertificationReport.saliency` to show it on the
        HTML page, or save it: `saliency_maps(model, x).save("saliency.png")`.

    Raises:
        ValueError: If a model does not return logits of these classes, there
            are no inputs, or an input is not finite.

    Example:

    >>> layer = keras_lip.layers.UnitNormDense(3)
    >>> model = keras.Sequential([keras.Input((2, 2, 1)),
    ...     keras.layers.Flatten(), layer])
    >>> saliency = keras_lip.explanations.saliency_maps(
    ...     model, np.ones((1, 2, 2, 1))
    ... )
    >>> saliency.gradients.shape  # models, samples, classes, and one input
    (1, 1, 3, 2, 2, 1)

    Reference:

    - [Simonyan et al., 2014](https://arxiv.org/abs/1312.6034), section 3
    - [Serrurier et al., 2023](https://arxiv.org/abs/2206.06854)
    """
    batches = [inputs for inputs, _ in iterate_batches(model, x, None, 32)]
    inputs = np.concatenate(batches).astype("float64")
    models = [model] if ordinary is None else [model, ordinary]
    attacked = [LiveModel(each) for each in models]
    logits = [each(inputs) for each in attacked]
    for each, values in zip(models, logits, strict=True):
        if values.ndim != 2 or values.shape != logits[0].shape:
            raise ValueError(
                "The models must return logits of the same classes, of shape "
                f"`(batch_size, classes)`. Received: model '{each.name}' with "
                f"outputs of shape {values.shape}"
            )
    chosen = _choose(classes, logits[0].shape[1])
    return Saliency(
        titles=tuple(each.name for each in models),
        classes=chosen,
        inputs=inputs,
        gradients=np.stack(
            [
                _differentiate(each, inputs, logits[0], chosen)
                for each in attacked
            ]
        ),
        prediction=np.stack([np.argmax(values, axis=1) for values in logits]),
    )


def _choose(classes: Sequence[int] | None, number: int) -> tuple[int, ...]:
    if classes is None:
        return tuple(range(number))
    chosen = tuple(int(each) for each in classes)
    if not chosen or min(chosen) < 0 or max(chosen) >= number:
        raise ValueError(
            f"`classes` must be indices of the {number} classes. Received: "
            f"classes={classes!r}"
        )
    return chosen


def _differentiate(
    model: LiveModel, inputs: Array, logits: Array, classes: tuple[int, ...]
) -> Array:
    """Returns gradients of shape `(num_samples, num_classes, *input)`."""
    weights = np.eye(logits.shape[1])
    maps = [
        model.pull_back(inputs, np.tile(weights[each], (len(inputs), 1)))
        for each in classes
    ]
    return np.stack(maps, axis=1)
