"""Certified radii of a network that ends in a curvature head (CRC-Lip)."""

import dataclasses
from typing import Literal

import numpy as np

from keras_lip.certificates.curvature.certifier import CurvatureCertifier
from keras_lip.program.nodes.curvature_head import CurvatureHead
from keras_lip.types import Array
from keras_lip.validation import check_positive_integer

# Radii are at most this large, so that reports are valid JSON.
_LARGEST = np.finfo("float64").max

# Maximal number of array entries of the margins that are compared together.
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

    Let `f` be the margin of the predicted class over another class, as a
    function of the features, and `K` a bound on its downward curvature. The
    distance to features with `f <= 0` is at least each of these:

    - `f / L`, where `L` is a Lipschitz constant of `f`;
    - `2 f / (g + sqrt(g^2 + 2 K f))`, where `g` is the norm of the gradient;
    - `sqrt(2 d)`, where `d` is any value of the dual of the problem to minimize
      `|s|^2 / 2` over all `s` with `f(x + s) <= 0`. For a multiplier `eta < 1 /
      K`, any `s`, and `q = s + eta grad f(x + s)`, the dual is at least `|s|^2
      / 2 + eta f(x + s) - |q|^2 / (2 (1 - eta K))`. So the result of the solver
      need not be exact.

    For each other class the largest of the three is taken. The radius is the
    minimum over *all* other classes, minus the error of the features, divided
    by the bound of the trunk. The dual is solved for the class that is
    currently the nearest, until the nearest class has been solved. The
    remaining classes cannot change the radius.

    Args:
        features: Float64 array of shape `(num_samples, input_dim)`. Inputs of
            the head.
        labels: Integer array of shape `(num_samples,)`. The predicted classes.
            For a head with one unit: 1 where its output is positive, otherwise
            0.
        head: `CurvatureHead`.
        trunk_bound: Float. Proven Lipschitz bound of the features.
        feature_errors: Non-negative array of shape `(num_samples,)`. Bounds on
            the l2 errors of the features.
        classes: Positive integer or `"all"`. Maximal number of classes, nearest
            first, for which the dual is solved. The first two bounds are used
            for all other classes.

    Returns:
        Float64 array of shape `(num_samples,)`, non-negative and finite. It is
        zero where another logit is as large as the label's, up to rounding, or
        a number is not finite.

    Raises:
        ValueError: If shapes do not match, a label is not a class, an error is
            negative, or `classes` is invalid.

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
    # Infinities and NaN are handled at the end.
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
