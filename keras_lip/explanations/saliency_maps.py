"""Input gradients, which show what a classifier looks at."""

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
    """Differentiates the logits of a classifier by its inputs.

    The gradient of the logit of a class says how to change an input for the
    model to be surer of that class. Of networks that are 1-Lipschitz and
    preserve gradients it tends to show the class, as the direction to the
    nearest input of another class does; of ordinary networks it looks like
    noise. It explains, and proves nothing.

    Gradients are those of the model as it runs, in full precision.

    Args:
        model: A built classifier of logits.
        x: Array of a few inputs, one picture each.
        classes: Indices of the classes to differentiate. Defaults to all.
        ordinary: A classifier of the same inputs and classes, to set beside the
            model. It needs no Lipschitz bound. Defaults to `None`.

    Returns:
        A `Saliency`, which `CertificationReport.saliency` shows in the page and
        which draws itself: `saliency_maps(model, x).save("saliency.png")`.

    Raises:
        ValueError: If a model does not return logits of these classes, there is
            no input, or one is not finite.

    Example:

    >>> layer = keras_lip.layers.UnitNormDense(3)
    >>> model = keras.Sequential([keras.Input((2, 2, 1)),
    ...     keras.layers.Flatten(), layer])
    >>> saliency = keras_lip.certificates.saliency_maps(
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
