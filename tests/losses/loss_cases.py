"""Six samples for every loss, and its values by numpy."""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import numpy as np

from keras_lip import layers
from keras_lip import losses

# All are exact in bfloat16.
COLUMN = np.array([[2.0], [-1.0], [0.5], [0.25], [3.0], [-2.0]])
SCORES = np.array(
    [
        [2.0, 1.5, -4.0],
        [0.0, 1.0, 0.5],
        [1.0, 1.0, 1.0],
        [0.25, -1.0, 2.0],
        [3.0, 0.0, 0.0],
        [0.0, 0.5, 0.75],
    ]
)
BINARY = np.array([1, 0, 0, 1, 0, 0])
CLASSES = np.array([0, 1, 2, 2, 1, 0])
ROWS = np.array(
    [[1, 1, 0], [0, 0, 0], [1, 0, 1], [1, 1, 1], [0, 1, 0], [0, 0, 1]]
)
SOFT = np.array([[0.75, 0.25, 0.0], [0.0, 0.5, 0.5]] * 3)
HEAD = {
    "hidden_kernel": np.array([[0.5], [-1.0], [2.0]]),
    "hidden_bias": np.array([0.5]),
    "kernel": np.array([[1.0, -2.0, 0.5]]),
    "bias": np.array([0.25, 0.0, -0.5]),
}


def hinge(y, s, margin=1.5):
    return np.maximum(0, margin - np.where(y > 0, 1, -1) * s)


def gap(y, s, w):
    """Weighted mean over the positive samples, minus that of the others."""
    if w[y > 0].sum() == 0 or w[y <= 0].sum() == 0:
        return 0.0
    return np.average(s[y > 0], weights=w[y > 0]) - np.average(
        s[y <= 0], weights=w[y <= 0]
    )


def hkr(y, s, w):
    y, s = np.ravel(y), np.ravel(s)
    return 2 * w @ hinge(y, s) - w.sum() * gap(y, s, w)


def margins(y, s):
    """Pairs of a sample and its margins over the classes not its own."""
    for i, t in enumerate(y):
        yield i, s[i, t] - np.delete(s[i], t)


def multiclass_hinge(y, s, w):
    return sum(w[i] * np.maximum(0, 1.5 - m).sum() for i, m in margins(y, s))


def multiclass_hkr(y, s, w):
    gaps = [gap(np.where(y == k, 1, 0), s[:, k], w) for k in range(3)]
    return 2 * multiclass_hinge(y, s, w) - w.sum() * np.mean(gaps)


def soft_hkr(y, s, w):
    total = 0.0
    for i, m in margins(y, s):
        soft = -np.log(np.exp(-3 * m).sum()) / 3
        total += w[i] * (2 * max(0, 1.5 - soft) - soft)
    return total


def multilabel_hkr(y, s, w):
    return np.mean([hkr(y[:, k], s[:, k], w) for k in range(3)])


def binary_crossentropy(y, s, w):
    return w @ np.log1p(np.exp(-2 * np.where(y > 0, 1, -1) * s[:, 0]))


def log_softmax(s):
    return s - np.log(np.exp(s).sum(axis=1, keepdims=True))


def crossentropy(y, s, w):
    return -w @ (y * log_softmax(2 * s)).sum(axis=1)


def curvature_crossentropy(y, s, w):
    def run(s):
        hidden = s @ HEAD["hidden_kernel"] + HEAD["hidden_bias"]
        logits = np.log1p(np.exp(hidden)) @ HEAD["kernel"] + HEAD["bias"]
        return hidden, log_softmax(logits)

    y = np.eye(3)[y]
    hidden, logs = run(s)
    slope = (np.exp(logs) - y) @ HEAD["kernel"].T / (1 + np.exp(-hidden))
    slope = slope @ HEAD["hidden_kernel"].T
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    values = -(y * run(s + 0.25 * slope)[1]).sum(axis=1)
    # One hidden unit, whose outer weights range from -2 to 1.
    curvature = 3 * (HEAD["hidden_kernel"] ** 2).sum() / 4
    return w @ (values + 0.5 * curvature)


LIPSCHITZ = 0.8


def emma_scores(y, s):
    """Margins to the label, raised as far as epsilon lets them."""
    shifted = np.empty_like(s)
    for i, t in enumerate(y):
        for j in range(s.shape[1]):
            reach = 0.5 * np.sqrt(2) * LIPSCHITZ * (j != t)
            margin = s[i, j] - s[i, t]
            share = np.clip(-margin / max(reach, 1e-8), 0.01, 1)
            shifted[i, j] = margin + share * reach
    return shifted


def emma(y, s, w):
    logs = log_softmax(emma_scores(y, s))
    return -w @ logs[np.arange(len(y)), y]


def offset(y, s, w):
    logs = log_softmax((s - 1.5 * np.eye(3)[y]) / 0.5)
    return -0.5 * w @ logs[np.arange(len(y)), y]


def logit_annealing(y, s, w):
    logs = log_softmax((emma_scores(y, s) - 1.5 * np.eye(3)[y]) / 0.5)
    logs = logs[np.arange(len(y)), y]
    return -0.5 * w @ ((1 - np.exp(logs)) ** 3 * logs)


def gloro(y, s, w):
    total = 0.0
    for i, t in enumerate(y):
        rivals = np.delete(s[i], s[i].argmax())
        none = rivals.max() + 0.5 * np.sqrt(2) * LIPSCHITZ
        p = np.exp(s[i]) / np.exp(s[i]).sum()
        q = np.exp(s[i]) / (np.exp(s[i]).sum() + np.exp(none))
        total += w[i] * (-np.log(p[t]) + 2 * (p * np.log(p / q)).sum())
    return total


def certificate(y, s, w):
    total = 0.0
    for i, m in margins(y, s):
        radius = max(0, m.min()) / (np.sqrt(2) * LIPSCHITZ)
        total += w[i] * (np.log1p(np.exp(-m).sum()) - 0.25 * radius)
    return total


def build_curvature_crossentropy(**kwargs):
    head = layers.CurvatureHead(3, hidden_units=1)
    head.build((None, 3))
    for name, value in HEAD.items():
        getattr(head, name).assign(value)
    return losses.CurvatureCrossentropy(head, 0.25, 0.5, **kwargs)


class Case(NamedTuple):
    """A loss with six samples.

    `reference` returns the weighted sum of the losses of the samples, of
    labels, scores and weights. `sparse` are the labels as it takes them.
    """

    build: Callable[..., Any]
    init_kwargs: dict[str, Any]
    y_true: Any
    y_pred: Any
    wrong: Any
    reference: Callable[..., Any]
    sparse: Any


def case(build, init_kwargs, y_true, y_pred, wrong, reference, sparse=None):
    wrong = np.concatenate([y_true[:-1], [wrong]])
    sparse = y_true if sparse is None else sparse
    return Case(build, init_kwargs, y_true, y_pred, wrong, reference, sparse)


HKR_KWARGS = {"alpha": 2.0, "margin": 1.5}
ONE_HOT = np.eye(3)[CLASSES]
CASES = {
    "KantorovichRubinstein": case(
        losses.KantorovichRubinstein,
        {},
        BINARY[:, None],
        COLUMN,
        [2],
        lambda y, s, w: -w.sum() * gap(y, s[:, 0], w),
        BINARY,
    ),
    "HingeMargin": case(
        losses.HingeMargin,
        {"margin": 1.5},
        2 * BINARY - 1,
        COLUMN,
        3,
        lambda y, s, w: w @ hinge(y, s[:, 0]),
    ),
    "HKR": case(losses.HKR, HKR_KWARGS, BINARY, COLUMN, 0.5, hkr),
    "HKR_of_columns": case(
        losses.HKR, HKR_KWARGS, BINARY[:, None], COLUMN, [-1], hkr, BINARY
    ),
    "MulticlassHinge": case(
        losses.MulticlassHinge,
        {"margin": 1.5},
        CLASSES,
        SCORES,
        3,
        multiclass_hinge,
    ),
    "MulticlassHinge_of_rows": case(
        losses.MulticlassHinge,
        {"margin": 1.5},
        ONE_HOT,
        SCORES,
        [1, 1, 0],
        multiclass_hinge,
        CLASSES,
    ),
    "MulticlassHKR": case(
        losses.MulticlassHKR,
        HKR_KWARGS,
        CLASSES[:, None],
        SCORES,
        [-1],
        multiclass_hkr,
        CLASSES,
    ),
    "MulticlassHKR_of_rows": case(
        losses.MulticlassHKR,
        HKR_KWARGS,
        ONE_HOT,
        SCORES,
        [0, 0, 0],
        multiclass_hkr,
        CLASSES,
    ),
    "MulticlassSoftHKR": case(
        losses.MulticlassSoftHKR,
        {**HKR_KWARGS, "temperature": 3.0},
        CLASSES,
        SCORES,
        1.5,
        soft_hkr,
    ),
    "MultilabelHKR": case(
        losses.MultilabelHKR,
        HKR_KWARGS,
        ROWS,
        SCORES,
        [0, 2, 1],
        multilabel_hkr,
    ),
    "MultilabelHKR_of_signs": case(
        losses.MultilabelHKR,
        HKR_KWARGS,
        2 * ROWS - 1,
        SCORES,
        [0, 1, 1],
        multilabel_hkr,
    ),
    "TemperatureBinaryCrossentropy": case(
        losses.TemperatureBinaryCrossentropy,
        {"temperature": 2.0},
        BINARY,
        COLUMN,
        2,
        binary_crossentropy,
    ),
    "TemperatureCategoricalCrossentropy": case(
        losses.TemperatureCategoricalCrossentropy,
        {"temperature": 2.0},
        SOFT,
        SCORES,
        [0.5, 0.0, 0.0],
        crossentropy,
    ),
    "TemperatureSparseCategoricalCrossentropy": case(
        losses.TemperatureSparseCategoricalCrossentropy,
        {"temperature": 2.0},
        CLASSES,
        SCORES,
        3,
        lambda y, s, w: crossentropy(np.eye(3)[y], s, w),
    ),
    "EMMA": case(
        losses.EMMA,
        {"epsilon": 0.5, "lipschitz_bound": LIPSCHITZ},
        CLASSES,
        SCORES,
        3,
        emma,
    ),
    "EMMA_of_rows": case(
        losses.EMMA,
        {"epsilon": 0.5, "lipschitz_bound": LIPSCHITZ},
        ONE_HOT,
        SCORES,
        [1, 1, 0],
        emma,
        CLASSES,
    ),
    "LogitAnnealing": case(
        losses.LogitAnnealing,
        {
            "epsilon": 0.5,
            "offset": 1.5,
            "temperature": 0.5,
            "exponent": 3.0,
            "lipschitz_bound": LIPSCHITZ,
        },
        CLASSES,
        SCORES,
        -1,
        logit_annealing,
    ),
    "OffsetCrossentropy": case(
        losses.OffsetCrossentropy,
        {"offset": 1.5, "temperature": 0.5},
        CLASSES[:, None],
        SCORES,
        [3],
        offset,
        CLASSES,
    ),
    "GloRo": case(
        losses.GloRo,
        {"epsilon": 0.5, "kl_weight": 2.0, "lipschitz_bound": LIPSCHITZ},
        CLASSES,
        SCORES,
        0.5,
        gloro,
    ),
    "CertificateRegularization": case(
        losses.CertificateRegularization,
        {"weight": 0.25, "lipschitz_bound": LIPSCHITZ},
        CLASSES,
        SCORES,
        3,
        certificate,
    ),
    "CurvatureCrossentropy": case(
        build_curvature_crossentropy,
        {},
        CLASSES,
        SCORES,
        3,
        curvature_crossentropy,
    ),
}
