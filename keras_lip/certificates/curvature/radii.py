"""Certified radii of a network that ends in a curvature head (CRC-Lip)."""

import dataclasses
from typing import Literal

import numpy as np

from keras_lip.certificates.curvature.certifier import CurvatureCertifier
from keras_lip.program.nodes.curvature_head import CurvatureHead
from keras_lip.types import Array
from keras_lip.validation import check_positive_integer

# No certificate is infinite: reports stay valid JSON.
_LARGEST = np.finfo("float64").max

# How many numbers the margins that are compared at a time may take.
_CHUNK = 2**22


def curvature_radii(
    features: Array,
    labels: Array,
    head: CurvatureHead,
    trunk_bound: float,
    feature_errors: Array,
    classes: int | Literal["all"] = "all",
) -> Array:
    """Returns the radius within which each prediction is proven constant.

    Let `f` be the margin of the predicted class over another one, a function of
    the features, and `K` a bound on its downward curvature. No features with
    `f <= 0` are nearer than

    - `f / L`, where `L` is a Lipschitz constant of `f`;
    - `2 f / (g + sqrt(g^2 + 2 K f))`, where `g` is the norm of the gradient;
    - `sqrt(2 d)`, where `d` is any value of the dual of the problem to
      minimize `|s|^2 / 2` over all `s` with `f(x + s) <= 0`. At a multiplier
      `eta` below `1 / K`, and with any `s` and `q = s + eta grad f(x + s)`, it
      is at least `|s|^2 / 2 + eta f(x + s) - |q|^2 / (2 (1 - eta K))`, so that
      the solver need not be trusted.

    The radius is the largest of them for each pair of classes, the least over
    *all* other classes, less the error of the features and divided by the bound
    of the trunk. The dual is solved for the class that is the nearest so far,
    until that class has been solved: the others cannot change the radius.

    Args:
        features: Array of shape `(num_samples, input_dim)`, float64. What the
            head receives.
        labels: Integer array of shape `(num_samples,)`. The predicted classes;
            of a head of one unit, 1 where its output is positive, else 0.
        head: `CurvatureHead`.
        trunk_bound: Float. Proven Lipschitz bound of the features.
        feature_errors: Array of shape `(num_samples,)`, at least 0. By how much
            the features may be off, in the l2 norm.
        classes: Positive integer or `"all"`. For how many classes, nearest
            first, the dual is solved at most. The others are compared as well,
            by the first two bounds.

    Returns:
        Array of shape `(num_samples,)`, float64, neither negative nor infinite.
        It is zero where another logit than the label's is as large, within
        roundings, or a number is not finite.

    Raises:
        ValueError: If a shape does not fit, a label is no class, an error is
            negative, or `classes` is another value.

    Reference:

    - [Singla & Feizi, 2022](https://arxiv.org/abs/2211.08453), Proposition 1
    - [Singla & Feizi, 2020](https://proceedings.mlr.press/v119/singla20a.html)
    """
    if head.kernel.shape[1] == 1:
        # The output is the margin of class 1 over class 0.
        head = dataclasses.replace(
            head,
            kernel=np.pad(head.kernel, ((0, 0), (1, 0))),
            bias=np.pad(head.bias, (1, 0)),
        )
    features = np.asarray(features, dtype="float64")
    labels = np.asarray(labels)
    _check_arrays(features, labels, head, np.asarray(feature_errors))
    others = len(head.bias) - 1
    rounds = others
    if classes != "all":
        rounds = min(others, check_positive_integer("classes", classes))
    size = max(1, _CHUNK // (len(head.bias) * max(head.hidden_kernel.shape)))
    # What overflows, or is no number, is found in the end.
    with np.errstate(all="ignore"):
        certifier = CurvatureCertifier(head)
        radii = np.zeros(len(features))
        for i in range(0, len(features), size):
            chunk = slice(i, i + size)
            radii[chunk] = certifier.certify(
                features[chunk], labels[chunk], rounds
            )
        radii = np.nextafter(radii - feature_errors, -np.inf)
        radii = np.nextafter(radii / trunk_bound, -np.inf)
    return np.clip(np.nan_to_num(radii, nan=0.0), 0.0, _LARGEST)


def _check_arrays(
    features: Array, labels: Array, head: CurvatureHead, errors: Array
) -> None:
    count = len(labels) if labels.ndim == 1 else -1
    if features.shape != (count, len(head.hidden_kernel)) or (
        errors.shape != (count,)
    ):
        raise ValueError(
            "`features` must have shape (num_samples, input_dim), and `labels` "
            "and `feature_errors` shape (num_samples,), of a head of "
            f"{len(head.hidden_kernel)} inputs. Received: "
            f"features.shape={features.shape}, labels.shape={labels.shape}, "
            f"feature_errors.shape={errors.shape}"
        )
    if np.any(errors < 0):
        raise ValueError(
            "`feature_errors` must not be negative. Received: "
            f"feature_errors={errors[errors < 0][:3].tolist()}..."
        )
    integers = np.issubdtype(labels.dtype, np.integer)
    if not integers or np.any((labels < 0) | (labels >= len(head.bias))):
        raise ValueError(
            f"`labels` must be integers from 0 to {len(head.bias) - 1}. "
            f"Received: labels={labels[:3].tolist()}... of dtype {labels.dtype}"
        )
