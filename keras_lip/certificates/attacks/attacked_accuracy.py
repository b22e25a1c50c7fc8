"""Accuracy under real attacks, an upper bound of certified accuracy."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.certificates.attacks.auto_attack import AutoAttack
from keras_lip.certificates.attacks.foolbox_attacks import make_attacks
from keras_lip.certificates.attacks.foolbox_attacks import to_foolbox_model
from keras_lip.certificates.attacks.foolbox_attacks import to_native
from keras_lip.certificates.margins import predict_labels
from keras_lip.data import check_bounds
from keras_lip.data import check_inside
from keras_lip.data import iterate_batches
from keras_lip.labels import LabelReader
from keras_lip.proofs.norms import check_norm
from keras_lip.types import Array
from keras_lip.validation import check_known
from keras_lip.validation import check_numbers
from keras_lip.validation import check_positive_integer


def attacked_accuracy(
    model: keras.Model,
    x: Any,
    y: Any = None,
    epsilons: float | Sequence[float] = (36 / 255, 72 / 255, 108 / 255),
    bounds: tuple[float, float] = (0.0, 1.0),
    steps: int = 40,
    batch_size: int = 256,
    norm: str = "l2",
    attacks: Sequence[str] | None = None,
) -> dict[float, float]:
    """Measures a classifier's accuracy under the attacks of foolbox.

    A sample counts as correct at a radius if its prediction is correct and no
    attack finds a misclassified input within the radius and within `bounds`.
    The l2 attacks are projected gradient descent (Madry et al., 2018), DeepFool
    (Moosavi-Dezfooli et al., 2016) and DDN (Rony et al., 2019). In l-infinity
    the fast gradient method (Goodfellow et al., 2015) replaces DDN. DeepFool
    and DDN also work if the gradient of the crossentropy vanishes for a
    confident network. Other attacks run if they are named in `attacks`:

    - `"pgd_cw"`: projected gradient descent on the loss of Carlini & Wagner
      (2017), the largest other logit minus the label's logit.
    - `"fgsm"`: one step of the fast gradient method, in l2 as well.
    - `"boundary"` (Brendel et al., 2018) and `"pointwise"` (Schott et al.,
      2019), in l2: they only see decisions and start from uniform noise. They
      are slow, so attack few samples. The boundary attack needs thousands of
      `steps`, in foolbox 25 000; the pointwise attack ignores `steps`.
    - `"autoattack"` (Croce & Hein, 2020): the standard ensemble, on PyTorch,
      for images and at least four logits. It needs the extra `autoattack`,
      ignores `steps` and runs once per radius.

    Args:
        model: A classifier of logits of shape `(batch_size, classes)`, or
            `(batch_size, 1)` for labels 0 and 1 or -1 and 1.
        x: Array of inputs; or an iterable of batches `(inputs, labels)`.
        y: Array of labels: class indices or one-hot. Defaults to `None`.
        epsilons: Radius, or radii, of the perturbations, in the norm. Defaults
            to `(36 / 255, 72 / 255, 108 / 255)`.
        bounds: Pair of floats. Smallest and largest value of an input entry.
            Defaults to `(0.0, 1.0)`.
        steps: Positive integer. Steps of each attack. Defaults to `40`.
        batch_size: Positive integer. Number of samples attacked at a time.
            Defaults to `256`.
        norm: `"l2"` or `"linf"`. Norm of the perturbations. Defaults to `"l2"`.
        attacks: List of the attacks to run. Defaults to `None`, for `"pgd"`,
            `"deepfool"` and, in l2, `"ddn"` or, in l-infinity, `"fgsm"`.

    Returns:
        Dict that maps each epsilon to an accuracy.

    Raises:
        ImportError: If the extra `attacks` is not installed, or the extra
            `autoattack` for this attack.
        ValueError: If an argument is out of range, an input is out of `bounds`,
            labels are missing or of the wrong shape, or `"autoattack"` does not
            support the backend or the model.

    Reference:

    - [Rauber et al., 2020](https://doi.org/10.21105/joss.02607), foolbox
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), section 5.2.1, for
      the choice of the fast gradient method, projected gradient descent on the
      margin, and the boundary and pointwise attacks on 100 images
    """
    radii = list(check_numbers("epsilons", epsilons, 0.0))
    steps = check_positive_integer("steps", steps)
    batch_size = check_positive_integer("batch_size", batch_size)
    bounds = check_bounds(bounds)
    chosen = _choose(model, check_norm(norm), steps, bounds, attacks)
    target = to_foolbox_model(model, bounds)
    read_labels = LabelReader(model.output_shape[-1])
    survivors: list[Any] = []
    for inputs, labels in iterate_batches(model, x, y, batch_size):
        if labels is None:
            raise ValueError("`y` must be given to measure an accuracy.")
        # The attacks use these labels.
        check_inside(inputs.astype("float32"), bounds)
        labels = read_labels(labels)
        native = to_native(inputs, labels)
        robust = _predict(model, native[0]) == labels
        robust = np.repeat(robust[None], len(radii), axis=0)
        for attack in chosen:
            _, _, success = attack(target, *native, epsilons=radii)
            robust &= ~ops.convert_to_numpy(success).astype(bool)
        survivors.append(robust)
    shares = np.concatenate(survivors, axis=1).mean(axis=1)
    return dict(zip(radii, shares.tolist(), strict=True))


def _choose(
    model: keras.Model,
    norm: str,
    steps: int,
    bounds: tuple[float, float],
    names: Sequence[str] | None,
) -> list[Any]:
    bounded, minimal, others = make_attacks(norm, steps)
    if names is None:
        return [*bounded.values(), *minimal.values()]
    known = {**bounded, **minimal, **others}
    if isinstance(names, str) or len(names) == 0:
        raise ValueError(
            "`attacks` must be a list of one or more names. "
            f"Received: attacks={names!r}"
        )
    for name in names:
        check_known("attack", name, [*known, "autoattack"])
    return [
        AutoAttack(model, bounds, norm) if name == "autoattack" else known[name]
        for name in names
    ]


def _predict(model: keras.Model, inputs: Any) -> Array:
    return predict_labels(ops.convert_to_numpy(model(inputs, training=False)))
