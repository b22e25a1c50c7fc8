"""Gradient ascent, in float64, to where an answer is least certain."""

import math
from collections.abc import Iterator

import numpy as np

from keras_lip.certificates.attacks.attacked_model import AttackedModel
from keras_lip.certificates.attacks.perturbation_ball import PerturbationBall
from keras_lip.certificates.attacks.perturbation_ball import batch_norms
from keras_lip.types import Array

# How many runs there are, and how many of them start at the samples.
_RUNS = 5
_CENTERED_RUNS = 3

# How many of the classes with the largest logits may be near.
_MAX_RIVALS = 32


def ascend_margins(
    model: AttackedModel,
    ball: PerturbationBall,
    labels: Array,
    steps: int,
    generator: np.random.Generator,
) -> Iterator[Array]:
    """Walks, within a ball, to where another class catches up with the answer.

    Every run ascends `f_j - f_y` for one class `j`, by projected gradient steps
    that shrink from twice the radius to none. The first runs start at the
    samples, one for each of the classes that are nearest to first order; on a
    linear model these reach the worst point in a single step. Later runs start
    at random points.

    Args:
        model: The model.
        ball: Where to walk.
        labels: Integer array of shape `(batch_size,)`, the answers.
        steps: Positive integer. Number of steps of a run.
        generator: Source of the random points.

    Yields:
        Arrays of points of the ball, one for each sample.

    Reference:

    - [Madry et al., 2018](https://arxiv.org/abs/1706.06083)
    """
    rivals = _nearest_rivals(model, ball, labels)
    for run in range(_RUNS):
        turn = run if run < _CENTERED_RUNS else run - _CENTERED_RUNS
        weights = rivals[turn % len(rivals)]
        points = ball.center
        if run >= min(_CENTERED_RUNS, len(rivals)):
            points = ball.draw(generator)
        for step in range(steps):
            slopes = model.gradients(points, weights)
            share = 1 + math.cos(math.pi * step / steps)
            points = ball.move(points, slopes, share)
            yield points


def _nearest_rivals(
    model: AttackedModel, ball: PerturbationBall, labels: Array
) -> list[Array]:
    """Returns weights of `f_j - f_y`, of the nearest classes first.

    The distance of a class is, to first order, its margin over the dual norm
    of the margin's gradient.
    """
    logits = model(ball.center)
    number, classes = logits.shape
    if classes == 1:
        return [1.0 - 2.0 * labels[:, None]]
    samples = np.arange(number)
    others = np.where(np.arange(classes) == labels[:, None], -np.inf, logits)
    ranked = np.argsort(-others, axis=1)[:, : min(classes - 1, _MAX_RIVALS)]
    weights = np.eye(classes)[ranked.T] - np.eye(classes)[labels]
    dual = {"l2": "l2", "linf": "l1"}[ball.norm]
    slopes = np.stack(
        [
            batch_norms(model.gradients(ball.center, each), dual)
            for each in weights
        ]
    )
    margins = -np.sum(weights * logits, axis=-1)
    nearest = np.argsort(margins / np.maximum(slopes, 1e-300), axis=0)
    return [weights[rank, samples] for rank in nearest]
