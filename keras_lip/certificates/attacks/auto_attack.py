"""AutoAttack, an ensemble of four attacks, on PyTorch."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.certificates.attacks.perturbation_ball import batch_norms
from keras_lip.certificates.margins import predict_labels
from keras_lip.types import Array

_NORMS = {"l2": "L2", "linf": "Linf"}

# Logits that the loss of its targeted attack sorts and compares.
_FEWEST_CLASSES = 4

# Its square attack splits an image into five stripes.
_LEAST_SIDE = 5

# Relative rounding error of a perturbation that was projected onto a ball.
_ROUNDING = 1e-5


class AutoAttack:
    """Runs AutoAttack with the signature of a foolbox attack.

    Args:
        model: A classifier of images, with at least four logits.
        bounds: Pair of floats. Smallest and largest value of an input entry.
        norm: `"l2"` or `"linf"`.

    Raises:
        ImportError: If the extra `autoattack` is not installed.
        ValueError: If the backend is not PyTorch, the inputs are not images of
            at least 5 x 5 pixels, or there are less than four logits.

    Reference:

    - [Croce & Hein, 2020](https://arxiv.org/abs/2003.01690), the version
      `"standard"`
    """

    def __init__(
        self, model: keras.Model, bounds: tuple[float, float], norm: str
    ) -> None:
        if keras.backend.backend() != "torch":
            raise ValueError(
                "'autoattack' runs on the torch backend only. Received: "
                f"backend={keras.backend.backend()!r}. Leave it out, or load "
                "the model with KERAS_BACKEND=torch."
            )
        shape, classes = model.input_shape, model.output_shape[-1]
        if not _is_image(shape) or classes < _FEWEST_CLASSES:
            raise ValueError(
                "'autoattack' needs a classifier of images of at least "
                f"{_LEAST_SIDE} x {_LEAST_SIDE} pixels with at least "
                f"{_FEWEST_CLASSES} logits. Received: inputs of shape {shape} "
                f"and {classes} logits. Choose other attacks."
            )
        self._module = _import_autoattack()
        self._model, self._norm, self._classes = model, norm, classes
        self._low, high = bounds
        self._range = high - self._low

    def __call__(
        self, target: Any, inputs: Any, labels: Any, epsilons: Sequence[float]
    ) -> tuple[None, None, Array]:
        """Returns, as third value, the success by radius and sample."""
        success = np.zeros((len(epsilons), len(inputs)), dtype=bool)
        for row, epsilon in enumerate(epsilons):
            if epsilon > 0:
                success[row] = self._attack(inputs, labels, epsilon)
        return None, None, success

    def _attack(self, inputs: Any, labels: Any, epsilon: float) -> Array:
        adversary = self._module.AutoAttack(
            self._predict,
            norm=_NORMS[self._norm],
            eps=epsilon / self._range,
            seed=0,
            device=inputs.device,
        )
        targets = min(9, self._classes - 1)
        adversary.apgd_targeted.n_target_classes = targets
        adversary.fab.n_target_classes = targets
        found, _ = adversary.run_standard_evaluation(
            self._to_images(inputs), labels, batch_size=len(inputs)
        )
        points = self._from_images(found)
        logits = self._model(points, training=False)
        changed = ops.convert_to_numpy(points).astype("float64")
        changed = changed - ops.convert_to_numpy(inputs)
        is_near = batch_norms(changed, self._norm) <= epsilon * (1 + _ROUNDING)
        wrong = predict_labels(ops.convert_to_numpy(logits))
        wrong = wrong != ops.convert_to_numpy(labels)
        is_found: Array = is_near & wrong
        return is_found

    def _predict(self, images: Any) -> Any:
        return self._model(self._from_images(images), training=False)

    def _to_images(self, inputs: Any) -> Any:
        """Scales inputs to values from zero to one, channels first."""
        images = (inputs - self._low) / self._range
        if keras.config.image_data_format() == "channels_last":
            images = ops.moveaxis(images, -1, 1)
        return images.contiguous()

    def _from_images(self, images: Any) -> Any:
        if keras.config.image_data_format() == "channels_last":
            images = ops.moveaxis(images, 1, -1)
        return self._low + self._range * images


def _is_image(shape: Any) -> bool:
    if len(shape) != 4:
        return False
    first = keras.config.image_data_format() == "channels_first"
    sides = shape[2:] if first else shape[1:-1]
    return all(side is None or side >= _LEAST_SIDE for side in sides)


def _import_autoattack() -> Any:
    try:
        import pyautoattack
    except ImportError as error:
        raise ImportError(
            "'autoattack' needs `pyautoattack`. Install the extra "
            '`autoattack`: pip install "keras-lip[autoattack]"'
        ) from error
    return pyautoattack
