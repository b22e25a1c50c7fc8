"""The certified radius of a curvature head, as part of the exported model."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.certificates.curvature.bounds import coarse_curvatures
from keras_lip.certificates.curvature.margins import norm_up
from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.models.exporting.margin_radius import used_share
from keras_lip.models.exporting.radius_operations import SHRINK
from keras_lip.models.exporting.radius_operations import are_finite
from keras_lip.models.exporting.radius_operations import find_label
from keras_lip.models.exporting.radius_operations import finish_radius
from keras_lip.models.exporting.radius_operations import float32_up
from keras_lip.models.exporting.radius_operations import least_radius
from keras_lip.models.exporting.radius_operations import lookup_rows
from keras_lip.models.exporting.radius_operations import norm_floor
from keras_lip.models.exporting.radius_operations import norm_slack
from keras_lip.models.exporting.radius_operations import softplus
from keras_lip.models.exporting.radius_operations import vector_norm
from keras_lip.program.nodes.curvature_head import CurvatureHead
from keras_lip.proofs.matrix_norms import spectral_norm_bound
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import multiply_up
from keras_lip.types import Array
from keras_lip.types import Tensor

# Factor that covers the rounding errors of a few float64 sums.
_UP = 1 + 2.0**-30


class CurvatureRadius:
    """Computes logits, labels and radii from the features of a curvature head.

    The radius is the larger of the two closed forms of `curvature_radii`: `f /
    S` and `2 f / (g + sqrt(g^2 + 2 K f))`, for a margin `f` with slope `g`,
    Lipschitz constant `S` and curvature `K`. The dual radius is larger for most
    inputs, but only `certify` computes it.

    Let `t` be the tolerance and `L` the bound of the trunk. The features `h` of
    a runtime are assumed to be off by at most `t (L |x| + |h|)` in the l2 norm,
    and each sum of the head by at most `t` times the sum of the absolute values
    of its terms. These errors are subtracted from the margins, added to the
    slopes, and subtracted from the radius around the features.

    Args:
        bounds: `PairBounds` of the model.
        head: `CurvatureHead`, in float64.
        logit_tolerance: Float, at least zero.
        size: Integer. Number of entries of one input.
    """

    def __init__(
        self,
        bounds: PairBounds,
        head: CurvatureHead,
        logit_tolerance: float,
        size: int,
    ) -> None:
        self._tolerance = logit_tolerance
        self._bounds = bounds
        self._head = head
        self._scalar = head.kernel.shape[1] == 1
        if self._scalar:
            # The output is the margin of class 1 over class 0.
            head = dataclasses.replace(
                head,
                kernel=np.pad(head.kernel, ((0, 0), (1, 0))),
                bias=np.pad(head.bias, (1, 0)),
            )
        self._classes = head
        self._sizes = _Magnitudes(head)
        share = logit_tolerance
        features = len(head.hidden_kernel)
        self._feature_slack = norm_slack(features + len(head.hidden_bias))
        reach = multiply_up(share, norm_slack(size), bounds.trunk_bound)
        self._by_input = _single(reach)
        self._by_features = _single(share * self._feature_slack * _UP)
        self._least = _single(
            add_up(
                multiply_up(reach, norm_floor(size)),
                multiply_up(share, norm_floor(features)),
                2.0**-96,
            )
        )

    def __call__(
        self, inputs: Tensor, features: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns logits, labels and radii.

        Args:
            inputs: Float32 tensor of shape `(batch, size)`.
            features: Float32 tensor of shape `(batch, input_dim)`.
        """
        head = self._classes
        hidden = _dense(features, head.hidden_kernel, head.hidden_bias)
        logits = _dense(softplus(hidden), head.kernel, head.bias)
        labels = find_label(logits)
        hot = ops.one_hot(labels, len(head.bias), dtype="float32")
        length = vector_norm(features)
        margins = self._margins(logits, length)
        slopes = self._slopes(hidden, hot, length)
        by_slope, curvatures = self._find_constants()
        squares = ops.add(
            ops.square(slopes),
            ops.multiply(margins, lookup_rows(2 * curvatures, labels)),
        )
        closed = ops.divide(
            ops.multiply(margins, 2.0), ops.add(slopes, ops.sqrt(squares))
        )
        flat = ops.divide(margins, lookup_rows(by_slope, labels))
        radii = least_radius(ops.maximum(closed, flat), hot)
        radii = self._pull_back(radii, inputs, length)
        finite = are_finite(ops.square(inputs), ops.square(features), logits)
        radii = finish_radius(radii, finite)
        return logits[:, 1:] if self._scalar else logits, labels, radii

    def check(
        self, x: Array, features: Array, logits: Array, found: Array
    ) -> float:
        """Returns the fraction of the tolerance that a runtime uses.

        Args:
            x: Array of shape `(batch, size)`, float64.
            features: Float64 array of shape `(batch, input_dim)`.
            logits: Float64 array of shape `(batch, classes)`. Like the
                features, the exact values.
            found: Array of the same shape. The runtime's logits.

        Returns:
            Float. At most one if the assumption holds at these inputs, as far
            as the logits show.
        """
        length = np.linalg.norm(features, axis=1)
        reach = self._bounds.trunk_bound * np.linalg.norm(x, axis=1) + length
        stretch = max(norm_up(self._head.kernel, axis=0))
        stretch *= spectral_norm_bound(self._head.hidden_kernel)
        allowed = stretch * reach + self._sizes.value(length)
        return used_share(
            np.max(np.abs(found - logits), axis=1), self._tolerance * allowed
        )

    def _margins(self, logits: Tensor, length: Tensor) -> Tensor:
        """Returns lower bounds, or zero, on the margins over all classes."""
        share = 2 * self._tolerance * self._feature_slack * _UP
        loss = ops.add(
            ops.multiply(length, _single(share * self._sizes.linear)),
            _single(share * self._sizes.constant),
        )
        top = ops.max(logits, axis=-1, keepdims=True)
        return ops.relu(ops.subtract(ops.subtract(top, logits), loss))

    def _slopes(self, hidden: Tensor, hot: Tensor, length: Tensor) -> Tensor:
        """Returns upper bounds on the gradient norms of all margins."""
        head = self._classes
        units, classes = head.kernel.shape
        weigh: Any = keras.layers.EinsumDense(
            "bk,kj->bjk", output_shape=(classes, units), dtype="float32"
        )
        weighted = weigh(ops.sigmoid(hidden))
        weigh.set_weights([head.kernel.astype("float32")])
        gradients = _dense(weighted, head.hidden_kernel.T)
        own = ops.sum(
            ops.multiply(ops.expand_dims(hot, -1), gradients),
            axis=1,
            keepdims=True,
        )
        norms = vector_norm(ops.subtract(own, gradients))[:, :, 0]
        share = 2 * self._tolerance * self._feature_slack * _UP
        error = ops.add(
            ops.multiply(length, _single(share * self._sizes.slope_linear)),
            _single(share * self._sizes.slope_constant + 2.0**-50),
        )
        return ops.add(ops.multiply(norms, _single(self._feature_slack)), error)

    def _pull_back(
        self, radii: Tensor, inputs: Tensor, length: Tensor
    ) -> Tensor:
        """Turns radii around the runtime's features into radii of inputs."""
        error = ops.add(
            ops.multiply(vector_norm(inputs), self._by_input),
            ops.add(ops.multiply(length, self._by_features), self._least),
        )
        radii = ops.multiply(radii, float(np.float32(SHRINK)))
        radii = ops.relu(ops.subtract(radii, error[:, 0]))
        return ops.divide(radii, _single(self._bounds.trunk_bound))

    def _find_constants(self) -> tuple[Array, Array]:
        """Bounds the Lipschitz constants and curvatures of all margins."""
        head = self._classes
        norm = spectral_norm_bound(head.hidden_kernel)
        unit_norms = norm_up(head.hidden_kernel, axis=0)
        columns = head.kernel.T
        # Row by row: there may be a thousand classes.
        rows = [column - columns for column in columns]
        slopes = [norm * norm_up(row) * _UP for row in rows]
        curvatures = [coarse_curvatures(row, norm, unit_norms) for row in rows]
        return np.stack(slopes), np.stack(curvatures)


class _Magnitudes:
    """Sums of absolute values in a head, as functions of the features' norm.

    The absolute values in a hidden unit `j` sum to at most `t = |w_j| |h| +
    |b_j|`. Its softplus is at most `t + 1`, and an error `e` changes its
    sigmoid by at most `e / 4`.
    """

    def __init__(self, head: CurvatureHead) -> None:
        norms = norm_up(head.hidden_kernel, axis=0)
        biases = np.abs(head.hidden_bias)
        outer = np.abs(head.kernel)
        # Errors of the unit, of its softplus, and of the sum over the units.
        self.linear = 3 * _UP * float(np.max(norms @ outer))
        self.constant = (
            3 * _UP * float(np.max((biases + 1) @ outer + np.abs(head.bias)))
        )
        self.slope_linear = _UP * float(np.max(np.square(norms) / 4 @ outer))
        self.slope_constant = _UP * float(
            np.max((norms * (2 + biases / 4)) @ outer)
        )

    def value(self, length: Array) -> Array:
        return self.linear * length + self.constant


def _dense(x: Tensor, kernel: Array, bias: Array | None = None) -> Tensor:
    layer: Any = keras.layers.Dense(
        kernel.shape[1], use_bias=bias is not None, dtype="float32"
    )
    outputs = layer(x)
    weights = [kernel] if bias is None else [kernel, bias]
    layer.set_weights([weight.astype("float32") for weight in weights])
    return outputs


def _single(value: float) -> float:
    if not math.isfinite(value):
        return math.inf
    return float(float32_up(value))
