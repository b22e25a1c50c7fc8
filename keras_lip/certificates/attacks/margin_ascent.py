"""Gradient ascent, in float64, to the smallest margin."""

import math
from collections.abc import Iterator

import numpy as np

from keras_lip.certificates.attacks.attacked_model import AttackedModel
from keras_lip.certificates.attacks.perturbation_ball import PerturbationBall
from keras_lip.certificates.attacks.perturbation_ball import batch_norms
from keras_lip.types import Array

# Number of runs, and of runs that start at the samples.
_RUNS = 5
_CENTERED_RUNS = 3

# Number of classes with the largest logits that are considered.
_MAX_RIVALS = 32


def ascend_margins(
    model: AttackedModel,
    ball: PerturbationBall,
    labels: Array,
    steps: int,
    generator: np.random.Generator,
) -> Iterator[Array]:
    """Searches a ball for points where another class is predicted.

    Every run maximizes `f_j - f_y` for one class `j`, by projected gradient
    steps whose length shrinks from twice the radius to zero. The first runs
    start at the samples, one for each of the classes that are nearest to first
    order. For a linear model they reach the worst point in one step. Later runs
    start at random points.

    Args:
        model: The model.
        ball: The balls to search.
        labels: Integer array of shape `(batch_size,)`. The predicted classes.
        steps: Positive integer. Number of steps of a run.
        generator: Random generator of the starting points.

    Yields:
        Arrays of points in the balls, one point for each sample.

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
    """Returns weights of `f_j - f_y`, the nearest classes first.

    To first order, the distance to class `j` is the margin `f_y - f_j` divided
    by the dual norm of its gradient.
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
